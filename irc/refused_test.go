package irc

import "testing"

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
