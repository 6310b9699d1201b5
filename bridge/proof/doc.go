// Package proof is the state of proofs that a guard has asked for: which nonces and
// codes are open, for what, until when, and how often somebody asked or guessed. It
// does no I/O, has no clock and no goroutine: same calls, same answers. Whoever uses
// a Book keeps its tickets on disk, and holds a lock.
package proof
