-- The views show what the head counts. A row that it does not count is no part of the log: no writer leaves one, and `fsck` says where one is.

CREATE VIEW counted AS
    SELECT n, epoch, size, root, body FROM batch WHERE n < (SELECT batches FROM head);

CREATE OR REPLACE VIEW state AS
    SELECT encode(election, 'hex') AS election,
           origin AS log,
           epoch,
           size,
           encode(root, 'hex') AS root,
           batches,
           CASE WHEN get_byte(log, 0) <> 3 THEN
               coalesce((SELECT get_byte(substring(body FROM 3 FOR 1), 0) = 4 FROM counted ORDER BY n DESC LIMIT 1), false)
           END AS closed
    FROM head;

CREATE OR REPLACE VIEW batches AS
    SELECT n,
           epoch,
           lag(size, 1, 0::bigint) OVER (ORDER BY n) AS size_before,
           size,
           size - lag(size, 1, 0::bigint) OVER (ORDER BY n) AS entries,
           octet_length(body) AS bytes
    FROM counted;

CREATE OR REPLACE VIEW votes AS
    SELECT b.size_before + e.place AS leaf_index, b.n AS batch, e.entry
    FROM (SELECT n, lag(size, 1, 0::bigint) OVER (ORDER BY n) AS size_before, body FROM counted) AS b
    CROSS JOIN LATERAL entries(b.body) AS e
    WHERE get_byte(e.entry, 0) = 2;

CREATE OR REPLACE VIEW results AS
    SELECT t.batch,
           t.size,
           to_timestamp(number_at(t.entry, 9) / 1000.0) AS time,
           number_at(t.entry, 17) AS votes,
           number_at(t.entry, 25) AS abstentions,
           ARRAY(SELECT number_at(t.entry, at) FROM generate_series(33, octet_length(t.entry) - 8, 8) AS at ORDER BY at) AS counts
    FROM (
        -- The last batch may be the close.
        SELECT b.n AS batch, b.size, e.entry
        FROM (SELECT n, size, body FROM counted WHERE n > 0 ORDER BY n DESC LIMIT 2) AS b
        CROSS JOIN LATERAL entries(b.body) AS e
        WHERE get_byte(e.entry, 0) = 3
        ORDER BY b.n DESC
        LIMIT 1
    ) AS t;
