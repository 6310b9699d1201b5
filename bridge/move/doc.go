// Package move is the guided way of one person from IRC to encrypted Jabber: !move, said
// to the bot alone. It goes step by step and remembers where somebody was: account,
// client, key, link, a sealed test message both ways, rooms. Next is the conversation
// itself, pure; Desk carries out what it asks for, within limits.
//
// Whoever has no services account is told how to get one and nothing else: a nick is
// nobody's. No key and no password goes over IRC.
package move
