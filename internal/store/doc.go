// Package store keeps what must outlive the process: what was taken in and not
// yet delivered, what was seen before, where each leg goes on, what is known of
// people's keys, and secrets. It is one SQLite file (WAL, synchronous=FULL) in a
// folder of its own:
//
//	drawbridge.db   the database, and its -wal and -shm
//	master.key      made at the first start, unless a key or passphrase is given
//	daykeys/        keys of the message bodies, in no backup
//	backups/        copies made before a change of the schema
//	reserve         room for rows to end in while the disk is full
//	lock            held by the one process that has the folder open
//
// Everything anybody said, who said it and when, is sealed (XChaCha20-Poly1305)
// under a day key. A day key is destroyed once no row needs it any more, so that
// what was deleted stays unreadable in old copies of the disk. What a guard keeps,
// and its audit, is sealed under the master key, like secrets.
//
// All writes go through one goroutine, which commits what waits together; who
// asked for a write hears of it after the commit. A failed write keeps nothing
// and may come again: while the disk is full, the core waits.
package store
