-- What a guard must know in its next process: rooms, bans, timers, tickets and
-- links, by an HMAC of their names. value is sealed.
CREATE TABLE guard (
	id    BLOB NOT NULL, -- only: sqlite
	value BLOB NOT NULL, -- only: sqlite
	id    BYTEA NOT NULL, -- only: postgres
	value BYTEA NOT NULL, -- only: postgres
	kind  TEXT NOT NULL,
	PRIMARY KEY (id, kind)
) WITHOUT ROWID -- only: sqlite
) -- only: postgres
;

-- Who was let into which room, by HMACs, and when they were last there. value is
-- sealed.
CREATE TABLE admitted (
	room  BLOB NOT NULL, -- only: sqlite
	who   BLOB NOT NULL, -- only: sqlite
	value BLOB NOT NULL, -- only: sqlite
	room  BYTEA NOT NULL, -- only: postgres
	who   BYTEA NOT NULL, -- only: postgres
	value BYTEA NOT NULL, -- only: postgres
	at    BIGINT NOT NULL,
	PRIMARY KEY (room, who)
) WITHOUT ROWID -- only: sqlite
) -- only: postgres
;

-- The audit of the guard: each act with the hash over the one before. line is
-- sealed.
CREATE TABLE act (
	seq  INTEGER NOT NULL PRIMARY KEY, -- only: sqlite
	seq  BIGINT NOT NULL PRIMARY KEY, -- only: postgres
	at   BIGINT NOT NULL,
	line BLOB NOT NULL, -- only: sqlite
	hash BLOB NOT NULL -- only: sqlite
	line BYTEA NOT NULL, -- only: postgres
	hash BYTEA NOT NULL -- only: postgres
);
