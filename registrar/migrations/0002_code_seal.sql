-- Whose a code is, under the registrar's code key: who writes these tables without the key cannot move a code to another voter.
--
-- A roll that was loaded before cannot be given one here, and so this fails on it and changes nothing: its codes were made without.

ALTER TABLE voter ADD COLUMN code_seal bytea NOT NULL CHECK (octet_length(code_seal) = 32);
