-- What a migration must know in its next process: phases, counts by day and speaker,
-- who refuses to be counted, and how far conversations are, by an HMAC of their names.
-- value is sealed; at is when it was last so, in seconds.
CREATE TABLE move (
	id    BLOB NOT NULL, -- only: sqlite
	value BLOB NOT NULL, -- only: sqlite
	id    BYTEA NOT NULL, -- only: postgres
	value BYTEA NOT NULL, -- only: postgres
	kind  TEXT NOT NULL,
	at    BIGINT NOT NULL,
	PRIMARY KEY (id, kind)
) WITHOUT ROWID -- only: sqlite
) -- only: postgres
;
