package guard

import (
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Whatever happens to somebody, they are told what to do next: by the rule's own words,
// by what its condition asks for, or by what kind of room it is.
func TestPeopleAreToldWhatToDo(t *testing.T) {
	do := []policy.Do{policy.Join}
	rule := func(id string, c policy.If) policy.Rule {
		return policy.Rule{ID: id, Do: do, If: c, Effect: policy.Kick}
	}
	p, err := policy.Compile(policy.Spec{Rooms: []policy.Room{{Name: "r"}}, Rules: []policy.Rule{
		rule("tls", policy.If{TLS: policy.No}), rule("account", policy.If{Account: policy.No}), rule("cert", policy.If{Cert: policy.No}),
		rule("flood", policy.If{Floods: policy.FloodLines}), rule("clear", policy.If{Encrypted: policy.No}), rule("below", policy.If{Below: policy.Verified}), rule("all", policy.If{}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := &room{name: "r", policy: p}
	channel := &side{room: r, place: bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#r"}}
	muc := &side{room: r, place: bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: "r@m"}}
	away := &side{room: r, place: channel.place, down: true}
	by := func(id string) policy.Decision {
		return policy.Decision{Effect: policy.Kick, Basis: policy.ByRule, Rule: id}
	}
	line := func(id string) policy.Decision {
		d := by(id)
		d.Do = policy.RelayIn
		return d
	}
	until := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		say  func(*policy.Decision) string
		d    policy.Decision
		want string
	}{
		{"the rule's own words", channel.reasonLocked, policy.Decision{Basis: policy.ByRule, Rule: "tls", Reason: "port 6697, please"}, "port 6697, please"},
		{"no TLS", channel.reasonLocked, by("tls"), "connect with TLS, then come back"},
		{"no account", channel.reasonLocked, by("account"), "log in to your services account, then come back"},
		{"no certificate", channel.reasonLocked, by("cert"), "connect with your client certificate, then come back"},
		{"a flood", channel.reasonLocked, by("flood"), "that was too much at once: wait a minute, then go on slowly"},
		{"a flood, banned by the rule", channel.reasonLocked, policy.Decision{Effect: policy.Ban, Basis: policy.ByRule, Rule: "flood", Until: until}, "that was too much at once: wait a minute, then go on slowly (banned until 2026-11-22 12:00 UTC; ask an admin about it)"},
		{"no condition", channel.reasonLocked, by("all"), "this channel is for members: log in to your services account first, then join again, or ask an operator"},
		{"a closed channel", channel.reasonLocked, policy.Decision{Effect: policy.Deny}, "this channel is for members: log in to your services account first, then join again, or ask an operator"},
		{"a closed MUC", muc.reasonLocked, policy.Decision{Effect: policy.Deny}, "this room is for members: ask one of its admins to be let in"},
		{"banned", channel.reasonLocked, policy.Decision{Effect: policy.Ban, Basis: policy.ByBan, Rule: "b1"}, "banned; ask an admin about it"},
		{"banned, with a reason", channel.reasonLocked, policy.Decision{Effect: policy.Ban, Basis: policy.ByBan, Reason: "spam", Until: until}, "spam (banned until 2026-11-22 12:00 UTC; ask an admin about it)"},

		{"unheard by a rule", channel.adviceLocked, by("flood"), "You cannot be heard in #r: that was too much at once: wait a minute, then go on slowly."},
		{"unheard, services away", away.adviceLocked, policy.Decision{Basis: policy.ByDoubt, Missing: policy.MissingAccount}, "You cannot be heard in #r for now: services are away, and it cannot be seen who you are. That ends by itself."},
		{"unheard, not known", muc.adviceLocked, policy.Decision{Basis: policy.ByDoubt, Missing: policy.MissingJID}, "You cannot be heard in r@m until it is known who you are (jid). Please wait a moment, or ask one of its admins."},
		{"unheard, sessions not known", muc.adviceLocked, policy.Decision{Basis: policy.ByDoubt, Missing: policy.MissingRung}, "You cannot be heard in r@m until an encrypted chat (OTR or OpenPGP) with the bot stands: begin one from your own account. If one does, please wait a moment."},
		{"unheard, without a session", muc.adviceLocked, by("clear"), "You cannot be heard in r@m: begin an encrypted chat (OTR or OpenPGP) with the bot, from your own account."},
		{"removed, without a good session", muc.reasonLocked, by("below"), "begin an encrypted chat (OTR or OpenPGP) with the bot, from your own account, by a key that is verified"},
		{"unheard in a channel", channel.adviceLocked, policy.Decision{}, "You cannot be heard in #r yet. Please log in to your services account (/msg NickServ IDENTIFY), or ask an operator."},
		{"unheard in a MUC", muc.adviceLocked, policy.Decision{}, "You cannot be heard in r@m yet. Please ask one of its admins."},

		{"in clear", r.refusal, line("clear"), "room r did not take that: write encrypted"},
		{"by a weak proof", r.refusal, line("below"), "room r did not take that: write with a key that is verified"},
		{"not relayed, banned", r.refusal, policy.Decision{Basis: policy.ByBan, Until: until}, "you are banned until 2026-11-22 12:00 UTC from room r; ask an admin about it"},
		{"not relayed, not known", r.refusal, policy.Decision{Missing: policy.MissingAccount}, "room r has to know first who you are (account): log in, or wait a moment"},
		{"not relayed", r.refusal, policy.Decision{Effect: policy.Deny}, "room r takes lines of its members: ask one of its admins to be let in"},
		{"not relayed, by words of the rule", r.refusal, policy.Decision{Basis: policy.ByRule, Rule: "clear", Reason: "use OTR"}, "use OTR"},
	} {
		if got := tt.say(&tt.d); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
