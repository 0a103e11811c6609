-- What operators ask (specs/architecture.md, Views). They show the database, of which the newest batches may not be published yet; what counts is what is published.
--
-- Nothing here says anything about a voter: a vote entry holds no time, no address and no name.

-- The entries of a batch, in order, from 0: (length u16 ‖ entry)*.
CREATE FUNCTION entries(body bytea) RETURNS TABLE (place integer, entry bytea)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    -- A copy in memory: else every look at it would fetch the whole of it again.
    bytes bytea := body || ''::bytea;
    length integer;
    at integer := 0;
BEGIN
    place := 0;
    WHILE at < octet_length(bytes) LOOP
        length := get_byte(bytes, at) * 256 + get_byte(bytes, at + 1);
        IF at + 2 + length > octet_length(bytes) THEN
            RAISE EXCEPTION 'the batch ends within an entry: it was cut off';
        END IF;
        entry := substring(bytes FROM at + 3 FOR length);
        RETURN NEXT;
        place := place + 1;
        at := at + 2 + length;
    END LOOP;
END
$$;

-- The u64 at a place, from 0. Numbers of a log are far below 2^63.
CREATE FUNCTION number_at(entry bytea, at integer) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT ('x' || encode(substring(entry FROM at + 1 FOR 8), 'hex'))::bit(64)::bigint
$$;

CREATE VIEW state AS
    SELECT encode(election, 'hex') AS election,
           origin AS log,
           epoch,
           size,
           encode(root, 'hex') AS root,
           batches,
           -- A close is alone in its batch (0x04). Of the heads log, which ends otherwise, nothing is said.
           CASE WHEN get_byte(log, 0) <> 3 THEN
               coalesce((SELECT get_byte(substring(body FROM 3 FOR 1), 0) = 4 FROM batch ORDER BY n DESC LIMIT 1), false)
           END AS closed
    FROM head;

CREATE VIEW batches AS
    SELECT n,
           epoch,
           lag(size, 1, 0::bigint) OVER (ORDER BY n) AS size_before,
           size,
           size - lag(size, 1, 0::bigint) OVER (ORDER BY n) AS entries,
           octet_length(body) AS bytes
    FROM batch;

CREATE VIEW put_aside AS
    SELECT id, n, epoch, by_epoch, size, encode(root, 'hex') AS root, octet_length(body) AS bytes
    FROM aside;

-- A cell's votes (0x02), by leaf index.
CREATE VIEW votes AS
    SELECT b.size_before + e.place AS leaf_index, b.n AS batch, e.entry
    FROM (SELECT n, lag(size, 1, 0::bigint) OVER (ORDER BY n) AS size_before, body FROM batch) AS b
    CROSS JOIN LATERAL entries(b.body) AS e
    WHERE get_byte(e.entry, 0) = 2;

-- A cell's newest tally entry (0x03). `counts` is, for each contest of the manifest in order: blanks, then one number for each option.
CREATE VIEW results AS
    SELECT t.batch,
           t.size,
           to_timestamp(number_at(t.entry, 9) / 1000.0) AS time,
           number_at(t.entry, 17) AS votes,
           number_at(t.entry, 25) AS abstentions,
           ARRAY(SELECT number_at(t.entry, at) FROM generate_series(33, octet_length(t.entry) - 8, 8) AS at ORDER BY at) AS counts
    FROM (
        -- The last batch may be the close.
        SELECT b.n AS batch, b.size, e.entry
        FROM (SELECT n, size, body FROM batch WHERE n > 0 ORDER BY n DESC LIMIT 2) AS b
        CROSS JOIN LATERAL entries(b.body) AS e
        WHERE get_byte(e.entry, 0) = 3
        ORDER BY b.n DESC
        LIMIT 1
    ) AS t;
