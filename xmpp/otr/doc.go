// Package otr is Off-the-Record messaging, versions 2 and 3, as an e2ee.Session: one
// conversation with each resource of a peer, by the protocol of otr/engine.
//
// What it adds is what libotr leaves to its applications, and what keeps hostile
// input cheap: queries and whitespace tags, fragments, limits of time, size and
// number, what to do when either side has lost a session, HTML payloads, key
// files, and that no text leaves without a session by a key that trust lets pass.
package otr
