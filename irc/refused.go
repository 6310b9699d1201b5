package irc

import (
	"strings"

	"github.com/ergochat/irc-go/ircmsg"

	"drawbridge/bridge"
)

// refusable is what a numeric can refuse.
type refusable struct {
	commands string // that change a channel, or ask about one
	talk     bool   // something that is said there, too
}

// changeRefusals are the numerics that refuse a change of a channel.
var changeRefusals = map[string]refusable{
	"401": {"KICK MODE INVITE PRIVMSG", true}, // no such nick
	"437": {"TOPIC", true},                    // InspIRCd takes one a second
	"441": {"KICK MODE", false},               // they are not in the channel
	"443": {"INVITE", false},                  // is there already
	"461": {"KICK MODE INVITE TOPIC", true},   // need more parameters
	"467": {"MODE", false},                    // the key is set already
	"468": {"MODE", false},                    // only servers may
	"472": {"MODE", false},                    // unknown mode
	"478": {"MODE", false},                    // the list is full
	"481": {"MODE", false},                    // for operators of the server alone
	"482": {"KICK MODE INVITE TOPIC", true},   // not an operator
	"484": {"KICK MODE", true},                // may not be kicked or deopped; a restricted connection (RFC 2812)
	"485": {"KICK MODE", false},               // may not be kicked, of others
	"490": {"MODE", false},                    // somebody is there without TLS
	"499": {"KICK MODE TOPIC", false},         // only the owner may
	"696": {"MODE", false},                    // bad parameter of a mode
	"742": {"MODE", false},                    // locked by services (MLOCK)
	"743": {"MODE", false},                    // bad list entry
	"744": {"TOPIC", false},                   // the topic is locked by services
	"972": {"KICK MODE INVITE TOPIC", false},  // may not do that
	"974": {"MODE", false},                    // the mode cannot be changed
}

// onChangeRefused tells guards of an order that the server refused. It reports
// whether the numeric is not about something that was said.
func (s *session) onChangeRefused(m *ircmsg.Message) bool {
	of, known := changeRefusals[m.Command]
	if !known {
		return false
	}
	var names []string
	if len(m.Params) > 2 {
		names = m.Params[1 : len(m.Params)-1]
	}
	order, asked := s.win.changeOf(s.label(m), of.commands, names, s.fold)
	if order == "" {
		return asked || !of.talk && s.label(m) == ""
	}
	if c := s.orderedIn(order); c != nil && !s.isMoot(c, m) {
		what, text := withoutKeys(order, strings.Join(append(names, param(m, -1)), " "))
		s.seeIn(c, bridge.Sight{Kind: bridge.SightRefused, What: what, Text: cleanText(text) + " (" + m.Command + ")", Later: m.Command == "437"})
	}
	if own := tag(m, "label"); own != "" {
		s.win.labelled(own, "", nil) // that was the whole answer
	}
	return true
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
