-- The first schema. Portable to PostgreSQL but for the lines marked otherwise.

CREATE TABLE meta (
	name  TEXT NOT NULL PRIMARY KEY,
	value BLOB NOT NULL -- only: sqlite
	value BYTEA NOT NULL -- only: postgres
);

-- Rooms by small numbers.
CREATE TABLE room (
	id   INTEGER NOT NULL PRIMARY KEY, -- only: sqlite
	id   BIGINT NOT NULL PRIMARY KEY, -- only: postgres
	leg  TEXT NOT NULL,
	kind SMALLINT NOT NULL,
	name TEXT NOT NULL,
	UNIQUE (leg, kind, name)
);

-- Messages taken in: an HMAC of room and id, to know them again.
CREATE TABLE ingress (
	key BLOB NOT NULL PRIMARY KEY, -- only: sqlite
	key BYTEA NOT NULL PRIMARY KEY, -- only: postgres
	at  BIGINT NOT NULL
) WITHOUT ROWID -- only: sqlite
) -- only: postgres
;

-- One row for one message on its way to one room. body is sealed: what was
-- said, by whom and when.
CREATE TABLE outbox (
	seq     INTEGER NOT NULL PRIMARY KEY, -- only: sqlite
	seq     BIGINT NOT NULL PRIMARY KEY, -- only: postgres
	dst     BIGINT NOT NULL,
	src     BIGINT NOT NULL,
	src_id  TEXT NOT NULL,
	wire_id TEXT NOT NULL,
	bridge  TEXT NOT NULL,
	state   SMALLINT NOT NULL,
	queued  BIGINT NOT NULL,
	key_id  BIGINT NOT NULL,
	body    BLOB NOT NULL -- only: sqlite
	body    BYTEA NOT NULL -- only: postgres
);

-- What a delivered message is called on both sides.
CREATE TABLE msgmap (
	id      INTEGER NOT NULL PRIMARY KEY, -- only: sqlite
	id      BIGINT NOT NULL PRIMARY KEY, -- only: postgres
	src     BIGINT NOT NULL,
	src_id  TEXT NOT NULL,
	dst     BIGINT NOT NULL,
	wire_id TEXT NOT NULL,
	net_id  TEXT NOT NULL,
	at      BIGINT NOT NULL
);

-- HMACs of what is inside encrypted messages, to know replays.
CREATE TABLE replay (
	mark   BLOB NOT NULL PRIMARY KEY, -- only: sqlite
	sender BLOB NOT NULL, -- only: sqlite
	mark   BYTEA NOT NULL PRIMARY KEY, -- only: postgres
	sender BYTEA NOT NULL, -- only: postgres
	at     BIGINT NOT NULL
) WITHOUT ROWID -- only: sqlite
) -- only: postgres
;

-- Where each leg goes on after a restart.
CREATE TABLE cursor (
	leg   TEXT NOT NULL,
	name  TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (leg, name)
);

-- Keys of the store and of the schemes, sealed under the master key.
CREATE TABLE secret (
	kind  TEXT NOT NULL,
	owner TEXT NOT NULL,
	value BLOB NOT NULL, -- only: sqlite
	value BYTEA NOT NULL, -- only: postgres
	PRIMARY KEY (kind, owner)
);

-- What each bridge counted, over all runs.
CREATE TABLE ledger (
	bridge   TEXT NOT NULL PRIMARY KEY,
	counters TEXT NOT NULL
);
