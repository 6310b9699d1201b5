package xmpp

import (
	"errors"

	"drawbridge/bridge"
	"drawbridge/xmpp/element"
)

// errClear means that a clear body was about to be written where none may be. It
// never happens; if it does, the message stays here.
var errClear = errors.New("xmpp: no clear text may be written to this room")

// ownBody returns the <body/> of a few words of the bot's own, which nobody said: the
// guard's, to who is in a MUC.
func ownBody(words string) *element.Element {
	return element.New(nsClient, "body").SetText(printable(clean(words), 1000))
}

// clearBody returns the <body/> of a message in clear. It is the only way to
// one of what somebody said, and needs the licence that only a clear floor makes.
func clearBody(m bridge.Outgoing) (*element.Element, error) {
	if !m.Clear.Licenses(m.To) {
		return nil, errClear
	}
	return element.New(nsClient, "body").SetText(clean(m.Text.Reveal())), nil
}
