package config

import (
	"strings"
	"testing"
	"time"

	"drawbridge/policy"
)

// guarded is good with a room of both sides and one of IRC alone.
func guarded(t *testing.T, rules string) (*Config, []string) {
	t.Helper()
	text := edit(t, good, "metrics:", `rooms:
  finance: {irc: {network: corp, channel: "#finance"}, xmpp: {account: dev-bot, room: finance@rooms.corp.example}, default: deny}
  lobby: {irc: {network: open, channel: "#lobby"}, default: allow, dry_run: false, flood: {lines: {count: 6, per: 5s}}}
rules:
`+rules+`
safety: {max_removals: {share: 10%}, protected: [alice]}
metrics:`)
	text = edit(t, text, "    irc: {corp: {accounts: [bob], certfps: []}}", "    irc: {corp: {accounts: [bob], certfps: []}}\n    groups: [finance]")
	c, errs := load(t, home(t), text, Options{})
	return c, errs
}

const someRules = `  - {id: in, rooms: [finance], do: [join, speak], who: {groups: finance}, effect: allow}
  - {id: tls, do: join, if: {tls: false}, except: [{people: bob, at_least: account}], effect: kick, reason: "TLS is required here"}
  - {id: flood, rooms: lobby, do: speak, if: {flood: [lines, caps]}, effect: ban, for: 1h}`

// What the file says is what the policy does.
func TestPolicySpec(t *testing.T) {
	c, errs := guarded(t, someRules)
	if errs != nil {
		t.Fatal(errs)
	}
	var people []*policy.Person
	for i := range c.People {
		people = append(people, c.People[i].Policy())
	}
	p, err := policy.Compile(c.PolicySpec(people))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	facts := func(account string, tls policy.Known) *policy.Facts {
		f := policy.NewIRCFacts("corp", "nick", "user", "host")
		f.Account, f.TLS, f.Cert = policy.IsNot("", now), policy.Fact{Known: tls}, policy.IsNot("", now)
		if account != "" {
			f.Account = policy.Is(account, "", now)
		}
		f.Floods = policy.FloodLines
		return &f
	}
	muc := policy.NewXMPPFacts("dev-bot", "al")
	muc.JID = policy.Is("alice@corp.example", "", now)
	for _, tt := range []struct {
		facts *policy.Facts
		event policy.Event
		want  policy.Effect
		rule  string
	}{
		{facts("bob", policy.Yes), policy.Event{Room: "finance", Do: policy.Join}, policy.Allow, "in"},
		{facts("bob", policy.No), policy.Event{Room: "lobby", Do: policy.Join}, policy.Allow, ""},
		{facts("", policy.Yes), policy.Event{Room: "finance", Do: policy.Join}, policy.Deny, ""},
		{facts("", policy.No), policy.Event{Room: "lobby", Do: policy.Join}, policy.Kick, "tls"},
		{facts("", policy.Yes), policy.Event{Room: "lobby", Do: policy.Speak}, policy.Ban, "flood"},
		{&muc, policy.Event{Room: "finance", Do: policy.Join}, policy.Alert, ""}, // protected, and in no group
	} {
		d := policy.Decide(p, tt.facts, tt.event, now)
		if d.Effect != tt.want || d.Rule != tt.rule {
			t.Errorf("%s in %s: %s by %q, want %s by %q", tt.event.Do, tt.event.Room, d.Effect, d.Rule, tt.want, tt.rule)
		}
		if tt.want == policy.Ban && !d.Until.Equal(now.Add(time.Hour)) {
			t.Errorf("until %s", d.Until)
		}
	}
}

func TestGuardDefaults(t *testing.T) {
	c, errs := guarded(t, someRules)
	if errs != nil {
		t.Fatal(errs)
	}
	if !c.Room("finance").DryRun || c.Room("lobby").DryRun {
		t.Error("dry run is how a room begins, unless it says otherwise")
	}
	if m := c.Safety.MaxRemovals; m != (MaxRemovals{5, time.Minute, 10}) {
		t.Errorf("%+v", m)
	}
	if l := c.Room("lobby").Limits(); l.Lines != (policy.Limit{Count: 6, Per: 5 * time.Second}) || l.Calm != time.Minute || l.Caps.Count != 0 {
		t.Errorf("%+v", l)
	}
}

func TestGuardWarnings(t *testing.T) {
	for _, tt := range []struct{ name, rules, want string }{
		{"TLS in a Jabber room", someRules, "rules[1].if.tls: a Jabber room never tells whether clients use TLS"},
		{"an affiliation on IRC", "  - {id: in, rooms: [finance], do: [join, speak], who: {groups: finance}, effect: allow}\n  - {id: quiet, do: [join, speak], if: {affiliation: none, role: [visitor, participant]}, effect: quarantine}", "rules[1].if.affiliation: there is no affiliation on IRC: in lobby it never matches"},
		{"sessions on IRC", "  - {id: in, rooms: [finance], do: [join, speak], who: {groups: finance}, effect: allow}\n  - {id: quiet, do: join, if: {below: signed}, effect: quarantine}", "rules[1].if: nobody on IRC has an encrypted session with the bot: in lobby it never matches"},
		{"in and dumb", "  - {id: in, rooms: [finance], do: join, who: {groups: finance}, effect: allow}", "rooms.finance.default: denies, and no rule lets anybody speak"},
	} {
		c, errs := guarded(t, tt.rules)
		if errs != nil {
			t.Fatal(tt.name, errs)
		}
		if len(c.Warnings) == 0 || !strings.Contains(c.Warnings[0].Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, c.Warnings)
		}
	}
}

// Rules about standing and sessions are what the policy decides by.
func TestPolicySpecOfStanding(t *testing.T) {
	c, errs := guarded(t, `  - {id: in, rooms: [finance], do: [join, speak], if: {affiliation: [owner, member], role: participant, below: signed}, effect: allow}`)
	if errs != nil || len(c.Warnings) != 0 {
		t.Fatal(errs, c.Warnings)
	}
	got := c.PolicySpec(nil).Rules[0].If
	if got.Affiliations.String() != "owner or member" || got.Roles.String() != "participant" || got.Below != policy.Signed {
		t.Errorf("%+v", got)
	}
	c, errs = guarded(t, `  - {id: in, rooms: [finance], do: [join, speak], if: {affiliation: member}, effect: allow}`)
	if errs != nil || len(c.Warnings) != 0 {
		t.Fatal(errs, c.Warnings)
	}
}

// What a network never tells is known once it is connected.
func TestGuardDoubts(t *testing.T) {
	c, errs := guarded(t, someRules)
	if errs != nil {
		t.Fatal(errs)
	}
	if got := c.GuardDoubts("open", policy.MissingAccount); len(got) != 0 {
		t.Errorf("%v", got)
	}
	got := c.GuardDoubts("corp", policy.MissingAccount|policy.MissingTLS)
	if len(got) != 2 || !strings.Contains(got[0].Error(), "rules[0].who: network corp never tells of anybody's account") || got[0].Pos.Line == 0 || !strings.Contains(got[1].Error(), "rules[1].if.tls") {
		t.Errorf("%v", got)
	}
}

// A rule about people whose accounts nobody knows can match where they may link one.
func TestRuleOfWhoMayLink(t *testing.T) {
	const rule = `  - {id: in, rooms: [finance], do: [join, speak], who: {groups: finance}, effect: allow}
  - {id: op, rooms: [lobby], do: op, who: {people: bob}, effect: allow}`
	for _, tt := range []struct {
		link, groups string
		refused      bool
	}{
		{"staff", "[finance]", false},
		{"staff", "[]", true},
		{"open", "[]", false},
		{"off", "[finance]", true},
	} {
		t.Run(tt.link+" "+tt.groups, func(t *testing.T) {
			text := edit(t, good, "metrics:", `rooms:
  finance: {irc: {network: corp, channel: "#finance"}, xmpp: {account: dev-bot, room: finance@rooms.corp.example}, default: deny}
  lobby: {irc: {network: open, channel: "#lobby"}, default: allow}
rules:
`+strings.Replace(rule, "groups: finance", "people: [alice]", 1)+`
safety: {link: `+tt.link+`}
metrics:`)
			text = edit(t, text, "    irc: {corp: {accounts: [bob], certfps: []}}", "    groups: "+tt.groups)
			_, errs := load(t, home(t), text, Options{})
			refused := strings.Contains(strings.Join(errs, "\n"), "rules[1].who")
			if refused != tt.refused {
				t.Errorf("refused %v: %q", refused, errs)
			}
		})
	}
}
