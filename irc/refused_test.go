package irc

import (
	"strings"
	"testing"
)

// No key of a channel is in what is shown of a refused order.
func TestRefusedWithoutKeys(t *testing.T) {
	for _, tt := range []struct{ order, text, what, words string }{
		{"MODE #dev -k+k theirs ours", "#dev k ours Invalid channel key: ours", "MODE #dev -k+k *** ***", "#dev k *** Invalid channel key: ***"},
		{"MODE #dev +k :ours", "ours is bad", "MODE #dev +k ***", "*** is bad"},
		{"MODE #dev +ob alice *!*@x", "You're not channel operator", "MODE #dev +ob alice *!*@x", "You're not channel operator"},
		{"MODE #dev -k", "no", "MODE #dev -k", "no"},
		{"KICK #dev kate :k", "no", "KICK #dev kate :k", "no"},
	} {
		if what, words := withoutKeys(tt.order, tt.text); what != tt.what || words != tt.words {
			t.Errorf("%s: %q, %q; want %q, %q", tt.order, what, words, tt.what, tt.words)
		}
	}
}

// A refusal is of the order, or of the question, that it can be of; else of what was said.
func TestWhatIsRefused(t *testing.T) {
	flights := map[string][]flying{
		"labels": {
			{label: "d1", body: "hello"}, {label: "g2", order: "MODE #dev +b *!*@h"}, {label: "g3", order: "KICK #dev eve out"}, {label: "q4"},
		},
		"none": {
			{body: "hello"}, {order: "MODE #dev +b *!*@h"}, {order: "KICK #dev eve out"}, {asks: "MODE #ops +b"}, {asks: "PRIVMSG NickServ :INFO al"}, {order: "INVITE al #inv"},
		},
	}
	for _, tt := range []struct {
		labels, label, numeric, names string
		order                         string
		asked                         bool
	}{
		{"labels", "g2", "482", "#dev", "MODE #dev +b *!*@h", false},
		{"labels", "g3", "482", "#dev", "KICK #dev eve out", false},
		{"labels", "d1", "482", "#dev", "", false},     // what was said
		{"labels", "d1", "401", "#dev", "", false},     // the same
		{"labels", "q4", "482", "#dev", "", false},     // a question, which is settled by its label
		{"labels", "d9", "484", "eve #dev", "", false}, // what is settled
		{"labels", "", "484", "eve #dev", "KICK #dev eve out", false},
		{"none", "", "482", "#dev", "MODE #dev +b *!*@h", false},
		{"none", "", "484", "eve #dev", "KICK #dev eve out", false},
		{"none", "", "441", "eve #dev", "KICK #dev eve out", false},
		{"none", "", "744", "#dev", "", false}, // of a TOPIC, and none was sent
		{"none", "", "443", "al #inv", "INVITE al #inv", false},
		{"none", "", "443", "al #dev", "INVITE al #inv", false},
		{"none", "", "484", "#inv", "", false}, // no INVITE is refused so
		{"none", "", "482", "#ops", "", true},
		{"none", "", "401", "NickServ", "", false},
		{"none", "", "482", "#other", "", false},
	} {
		w := &window{flight: flights[tt.labels]}
		order, asked := w.changeOf(tt.label, changeRefusals[tt.numeric].commands, strings.Fields(tt.names), strings.ToLower)
		if order != tt.order || asked != tt.asked {
			t.Errorf("%s %q %s %s: %q, %v; want %q, %v", tt.labels, tt.label, tt.numeric, tt.names, order, asked, tt.order, tt.asked)
		}
	}
}
