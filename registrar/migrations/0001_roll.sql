-- A registrar's roll, as its sealed backup has it: filled in one transaction, and only read afterwards.
--
-- What holds a name or a code's HMAC is the registrar's alone. Who was issued a credential is not here.

CREATE TABLE meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    election bytea NOT NULL CHECK (octet_length(election) = 32),
    registrar integer NOT NULL,
    -- Over everything below, and the two above.
    digest bytea NOT NULL CHECK (octet_length(digest) = 32)
);

CREATE TABLE voter (
    roll_index bigint PRIMARY KEY CHECK (roll_index >= 0),
    identity text NOT NULL,
    salt bytea NOT NULL CHECK (octet_length(salt) = 32),
    code_hmac bytea NOT NULL UNIQUE CHECK (octet_length(code_hmac) = 32)
);

CREATE TABLE roll_tile (
    path text COLLATE "C" PRIMARY KEY,
    bytes bytea NOT NULL
);

-- Hashes do not compress.
ALTER TABLE roll_tile ALTER COLUMN bytes SET STORAGE EXTERNAL;
