// Package irc is the IRC leg: one connection to one IRC network, kept up for as
// long as Run runs, with several channels on it.
//
// It speaks RFC 1459/2812 as servers really do, and uses the IRCv3 capabilities
// a server offers; it works on a server that offers none. Lines are sent by
// window, not by rate: at most 8 lines and 2000 bytes are unconfirmed at any
// moment, so that no server's flood control kills us and none is waited for
// longer than it asks. A line is confirmed by its labelled echo, its echo, or
// the PONG of a PING sent after it (a fence), whichever the server can do.
package irc
