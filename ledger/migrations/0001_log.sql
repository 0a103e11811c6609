-- One log. Everything is in the session's schema.
--
-- The head is one row, the only one that is ever updated; a batch is one row, written once; `aside` keeps what lost against a published batch.

CREATE TABLE head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    election bytea NOT NULL CHECK (octet_length(election) = 32),
    log bytea NOT NULL,
    origin text NOT NULL,
    owner bytea NOT NULL,
    epoch bigint NOT NULL CHECK (epoch >= 0),
    batches bigint NOT NULL CHECK (batches >= 0),
    size bigint NOT NULL CHECK (size >= batches),
    root bytea NOT NULL CHECK (octet_length(root) = 32)
-- Room for a day's versions of the row within its page.
) WITH (fillfactor = 10);

CREATE TABLE batch (
    n bigint PRIMARY KEY CHECK (n >= 0),
    epoch bigint NOT NULL,
    size bigint NOT NULL CHECK (size > n),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    -- (length u16 ‖ entry)*
    body bytea NOT NULL
);

-- Hashes, keys and signatures do not compress: store the bytes as they are.
ALTER TABLE batch ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE aside (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    by_epoch bigint NOT NULL,
    n bigint NOT NULL,
    epoch bigint NOT NULL,
    size bigint NOT NULL,
    root bytea NOT NULL,
    body bytea NOT NULL
);

ALTER TABLE aside ALTER COLUMN body SET STORAGE EXTERNAL;

-- A batch is never rewritten, not even by hand in a hurry. (It can be deleted: what lost is moved to `aside`.)
CREATE FUNCTION never_rewritten() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a committed batch is never rewritten';
END
$$;

CREATE TRIGGER batch_never_rewritten BEFORE UPDATE OR TRUNCATE ON batch
    FOR EACH STATEMENT EXECUTE FUNCTION never_rewritten();
