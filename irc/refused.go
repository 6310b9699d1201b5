package irc

import (
	"strings"

	"github.com/ergochat/irc-go/ircmsg"

	"drawbridge/bridge"
)

// changeRefusals are the numerics that refuse a change of a channel, and nothing
// that is said there.
var changeRefusals = map[string]bool{
	"441": true, // they are not in the channel
	"443": true, // is there already
	"461": true, // need more parameters
	"467": true, // the key is set already
	"468": true, // only servers may
	"472": true, // unknown mode
	"478": true, // the list is full
	"482": true, // not an operator
	"484": true, // may not be kicked or deopped
	"485": true, // the same, of others
	"490": true, // somebody is there without TLS
	"499": true, // only the owner may
	"696": true, // bad parameter of a mode
	"742": true, // locked by services (MLOCK)
	"743": true, // bad list entry
	"744": true, // the topic is locked by services
	"972": true, // may not do that
	"974": true, // the mode cannot be changed
}

// onChangeRefused tells guards of an order that the server refused. It reports
// whether the numeric can mean nothing else.
func (s *session) onChangeRefused(m *ircmsg.Message) bool {
	known := changeRefusals[m.Command]
	if !known && m.Command != "401" {
		return false
	}
	label := s.label(m)
	var names []string
	if len(m.Params) > 2 {
		names = m.Params[1 : len(m.Params)-1]
	}
	order, ok := s.win.orderOf(label, names, s.fold)
	if !ok {
		return known
	}
	if c := s.orderedIn(order); c != nil && !s.isMoot(c, m) {
		what, text := withoutKeys(order, strings.Join(append(names, param(m, -1)), " "))
		s.seeIn(c, bridge.Sight{Kind: bridge.SightRefused, What: what, Text: cleanText(text) + " (" + m.Command + ")"})
	}
	if own := tag(m, "label"); own != "" {
		s.win.labelled(own, "", nil) // that was the whole answer
	}
	return known || label != ""
}

// withoutKeys takes the parameters of an order that changes a channel's key out of what
// is shown of it, and out of the server's words: the old key may be somebody else's.
func withoutKeys(order, text string) (what, words string) {
	f := strings.Fields(order)
	if len(f) < 4 || f[0] != "MODE" || !strings.Contains(f[2], "k") {
		return order, text
	}
	for i, p := range f[3:] {
		if p = strings.TrimPrefix(p, ":"); p != "" {
			text = strings.ReplaceAll(text, p, "***")
		}
		f[3+i] = "***"
	}
	return strings.Join(f, " "), text
}

// isMoot reports whether a numeric says that somebody is not there who is not: who
// went in the meantime needs no order.
func (s *session) isMoot(c *channel, m *ircmsg.Message) bool {
	return (m.Command == "401" || m.Command == "441") && c.members[s.fold(param(m, 1))] == nil
}

// orderedIn is the channel that an order is about, or nil.
func (s *session) orderedIn(order string) *channel {
	for word := range strings.FieldsSeq(order) {
		if c := s.channel(word); c != nil {
			return c
		}
	}
	return nil
}
