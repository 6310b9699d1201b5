package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// people of the tests, with an account each; bob's is linked.
func people() []*policy.Person {
	return []*policy.Person{
		{Name: "alice", JIDs: []string{"alice@x", "alice@home"}, IRC: map[string]policy.IRCIdentity{"corp": {Accounts: []string{"alice"}}}},
		{Name: "bob", JIDs: []string{"bob@x"}},
		{Name: "carol", JIDs: []string{"carol@x"}, IRC: map[string]policy.IRCIdentity{"corp": {Accounts: []string{"Carol"}}, "other": {Accounts: []string{"eve"}}}},
		{Name: "dave", IRC: map[string]policy.IRCIdentity{"corp": {Accounts: []string{"dave"}}}},
		{Name: "erin", JIDs: []string{"erin@x"}},
	}
}

func options() Options {
	return Options{
		Network: "corp", Self: "bot@x", Account: "bridge", People: people(), Title: "#dev",
		Binds: []policy.Bind{{Person: "bob", Kind: policy.Account, Leg: "corp", Value: "bobby"}},
	}
}

func dev() policy.ChannelSeen {
	return policy.ChannelSeen{
		Flags:    "nst",
		Access:   map[string]string{"alice": "AFRefiorstv", "bridge": "AOo", "Bobby": "V", "dave": "o", "eve": "o", "mallory": "b", "*!*@10.0.0.7": "V"},
		Present:  map[string]string{"ally": "o", "caro": "", "joe": "v", "bridge": "o", "guest": "", "mal": "o"},
		Accounts: map[string]string{"ally": "alice", "caro": "carol", "bridge": "bridge", "mal": "mallory"},
	}
}

func config() map[string]string {
	return map[string]string{
		fieldPersistent: "0", policy.FieldWhois: "moderators", policy.FieldMembersOnly: "0", fieldPublic: "1", policy.FieldSubject: "1",
		policy.FieldModerated: "0", fieldName: "", inviteFields[0]: "1", "muc#roomconfig_enablearchiving": "1",
	}
}

func fresh() policy.MUCSeen {
	empty := ""
	return policy.MUCSeen{
		Config: config(), Subject: &empty, Affiliations: []policy.Holder{{JID: "bot@x", Is: policy.Owner}},
		Occupants: []policy.Occupant{{Nick: "bridge", JID: "bot@x", Is: policy.Owner, Role: policy.Moderator}},
	}
}

func TestProposal(t *testing.T) {
	p := Propose(dev(), "plans", fresh(), options())
	var got []string
	for _, h := range p.Want.Affiliations {
		got = append(got, fmt.Sprintf("%s %s (%s)", h.Is, h.JID, p.Why[h.JID]))
	}
	want := []string{
		"admin alice@x (alice: founder, alice (+AFRefiorstv))", "admin alice@home (alice: founder, alice (+AFRefiorstv))",
		"member bob@x (bob: voice, Bobby (+V))", "member carol@x (carol: is there as caro (carol))",
	}
	if !slices.Equal(got, want) {
		t.Errorf("affiliations\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	left := []string{
		"*!*@10.0.0.7 (+V) is a mask, which proves nobody",
		"eve (+o) is nobody's account: people: {NAME: {jids: […], irc: {corp: {accounts: [eve]}}}}",
		"mallory (+b) is banned from the channel, and gets nothing here",
		"joe has voice and is not logged in: a nick proves nobody",
		"dave (op, dave (+o)) has no JID",
	}
	if !slices.Equal(p.Left, left) {
		t.Errorf("left\n%s\nwant\n%s", strings.Join(p.Left, "\n"), strings.Join(left, "\n"))
	}
	fields := fmt.Sprint(p.Want.Fields)
	for _, f := range []string{"{muc#roomconfig_persistentroom 1}", "{muc#roomconfig_whois anyone}", "{muc#roomconfig_membersonly 1}", "{muc#roomconfig_publicroom 0}", "{muc#roomconfig_allowinvites 0}", "{muc#roomconfig_changesubject 0}", "{muc#roomconfig_roomname #dev}", "{muc#roomconfig_enablearchiving 0}"} {
		if !strings.Contains(fields, f) {
			t.Errorf("fields %s, want %s", fields, f)
		}
	}
}

// What somebody has is never lowered: owners stay owners, admins admins, bans bans.
func TestNobodyLoses(t *testing.T) {
	seen := fresh()
	seen.Affiliations = append(seen.Affiliations, policy.Holder{JID: "alice@x", Is: policy.Owner}, policy.Holder{JID: "carol@x", Is: policy.Admin}, policy.Holder{JID: "bob@x", Is: policy.Outcast}, policy.Holder{JID: "old@x", Is: policy.Member})
	p := Propose(dev(), "", seen, options())
	if len(p.Want.Affiliations) != 1 || p.Want.Affiliations[0].JID != "alice@home" || p.Want.Subject != nil || p.Want.Locked || p.Want.DropOwners {
		t.Errorf("want %+v", p.Want)
	}
	if !slices.ContainsFunc(p.Left, func(s string) bool { return strings.HasPrefix(s, "bob@x (voice, Bobby (+V)) is banned from the room") }) {
		t.Errorf("left %q", p.Left)
	}
}

func TestProposalOfLittle(t *testing.T) {
	o := options()
	o.ListKept = true
	if p := Propose(dev(), "", fresh(), o); len(p.Want.Affiliations) > 0 || !strings.Contains(p.Left[0], "the guard keeps the list") {
		t.Errorf("with a guard's list: %+v", p)
	}
	o = options()
	o.Archive, o.Members = true, []string{"erin", "nobody"}
	seen := fresh()
	delete(seen.Config, "muc#roomconfig_enablearchiving")
	p := Propose(policy.ChannelSeen{AccessHidden: true}, "", seen, o)
	if len(p.Want.Affiliations) != 1 || p.Why["erin@x"] != "erin: is of the bridge" {
		t.Errorf("affiliations %+v", p.Want.Affiliations)
	}
	if len(p.Left) != 3 || !strings.Contains(p.Left[0], "keeps no archive") || !strings.Contains(p.Left[1], "+A lets it be read") {
		t.Errorf("left %q", p.Left)
	}
}

// room plays a MUC service: it does what it is asked, as the model says.
type room struct {
	bridge.Enforcer
	seen    policy.MUCSeen
	caps    policy.MUCCaps
	applied int
	invited []string
	deaf    bool // says it did, and did not
}

func (r *room) Observe(context.Context, bridge.Room) (bridge.Observed, error) {
	holds := slices.Contains(r.seen.Affiliations, policy.Holder{JID: "bot@x", Is: policy.Owner})
	return bridge.Observed{MUC: clone(r.seen), MUCCaps: r.caps, Holds: holds}, nil
}

func (r *room) Apply(_ context.Context, _ bridge.Room, c bridge.Changes) error {
	r.applied++
	r.invited = append(r.invited, c.Invite...)
	if c.Step != nil && !r.deaf {
		model(&r.seen, c.Step)
	}
	return nil
}

func job(r *room) *Job {
	return &Job{Leg: r, Room: bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: "dev@rooms.x"}, Channel: dev(), Topic: "plans", Options: options(), Most: 1}
}

// A look changes nothing; a run does what the look said, invites, and leaves nothing
// to do.
func TestRun(t *testing.T) {
	for _, ejabberd := range []bool{false, true} {
		r := &room{seen: fresh(), caps: policy.MUCCaps{Ejabberd: ejabberd}}
		r.seen.Config[policy.FieldModerated] = "1"
		r.seen.Occupants = append(r.seen.Occupants, policy.Occupant{Nick: "carol", JID: "carol@x", Is: policy.NoOne, Role: policy.Participant}, policy.Occupant{Nick: "stranger", JID: "s@x", Is: policy.NoOne, Role: policy.Participant})
		look, err := job(r).Look(t.Context())
		if err != nil || r.applied > 0 || look.Done || !slices.Equal(look.PutOut, []string{"stranger"}) {
			t.Fatalf("look: %+v, %v, %d applied", look, err, r.applied)
		}
		run, err := job(r).Run(t.Context())
		if err != nil || !run.Done || !slices.Equal(run.PutOut, look.PutOut) {
			t.Fatalf("run: %+v, %v", run, err)
		}
		if !slices.Equal(run.Changes, look.Changes) {
			t.Errorf("done\n%s\nforeseen\n%s", strings.Join(run.Changes, "\n"), strings.Join(look.Changes, "\n"))
		}
		if !slices.Equal(r.invited, []string{"alice@x", "bob@x"}) || !slices.Equal(run.Invited, r.invited) {
			t.Errorf("invited %v", r.invited)
		}
		for _, line := range []string{"admin: alice@x (alice: founder, alice (+AFRefiorstv))", "configuration: members-only", `subject: "plans"`, "configuration: no archive on the server"} {
			if !slices.Contains(run.Changes, line) {
				t.Errorf("changes %q, want %q", run.Changes, line)
			}
		}
		n := r.applied
		again, err := job(r).Run(t.Context())
		if err != nil || len(again.Changes) > 0 || r.applied != n || len(again.Invited) > 0 || !again.Done {
			t.Errorf("again: %+v, %v", again, err)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	r := &room{seen: fresh()}
	for _, nick := range []string{"s", "t"} {
		r.seen.Occupants = append(r.seen.Occupants, policy.Occupant{Nick: nick, JID: nick + "@x", Is: policy.NoOne, Role: policy.Participant})
	}
	if _, err := job(r).Run(t.Context()); !errors.Is(err, policy.ErrTooMany) || r.applied > 0 {
		t.Errorf("two would be put out, and one may: %v, %d applied", err, r.applied)
	}
	r = &room{seen: fresh()}
	r.seen.Affiliations[0].Is = policy.Admin
	if _, err := job(r).Run(t.Context()); !errors.Is(err, ErrNotOwner) || r.applied > 0 {
		t.Errorf("the bot is admin: %v", err)
	}
	r = &room{seen: fresh(), deaf: true}
	if _, err := job(r).Run(t.Context()); !errors.Is(err, ErrUnsettled) {
		t.Errorf("the service says it did, and did not: %v", err)
	}
}

// Whatever channel and room are like: nobody loses, no owner is touched, the bot is
// not named, and a second run has nothing to do.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		accounts := []string{"alice", "bobby", "carol", "dave", "eve", "bridge", "a!b@c"}
		ch := policy.ChannelSeen{
			Flags:    rapid.StringMatching("[instp]{0,4}").Draw(t, "flags"),
			Access:   rapid.MapOf(rapid.SampledFrom(accounts), rapid.StringMatching("[AFORSVbfhiorstv]{0,4}")).Draw(t, "access"),
			Present:  rapid.MapOf(rapid.SampledFrom([]string{"n1", "n2", "n3"}), rapid.SampledFrom([]string{"", "o", "v", "ov"})).Draw(t, "present"),
			Accounts: rapid.MapOf(rapid.SampledFrom([]string{"n1", "n2", "n3"}), rapid.SampledFrom(accounts)).Draw(t, "accounts"),
		}
		r := &room{seen: fresh(), caps: policy.MUCCaps{Ejabberd: rapid.Bool().Draw(t, "ejabberd")}}
		is := rapid.SampledFrom([]policy.Affiliation{policy.Owner, policy.Admin, policy.Member, policy.Outcast})
		for jid, a := range rapid.MapOf(rapid.SampledFrom([]string{"alice@x", "bob@x", "carol@x", "z@x"}), is).Draw(t, "affiliations") {
			r.seen.Affiliations = append(r.seen.Affiliations, policy.Holder{JID: jid, Is: a})
		}
		before := clone(r.seen).Affiliations
		j := job(r)
		j.Channel, j.Topic, j.Most = ch, rapid.SampledFrom([]string{"", "plans"}).Draw(t, "topic"), 10
		if _, err := j.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, h := range before {
			i := slices.IndexFunc(r.seen.Affiliations, func(n policy.Holder) bool { return n.JID == h.JID })
			if i < 0 || rank(r.seen.Affiliations[i].Is) < rank(h.Is) || (h.Is == policy.Owner || h.Is == policy.Outcast) && r.seen.Affiliations[i].Is != h.Is {
				t.Fatalf("%+v became %+v", h, r.seen.Affiliations)
			}
		}
		if owners := func(l []policy.Holder) (n int) {
			for _, h := range l {
				if h.Is == policy.Owner {
					n++
				}
			}
			return n
		}; owners(before) != owners(r.seen.Affiliations) {
			t.Fatal("there is another owner")
		}
		n := r.applied
		if again, err := j.Run(context.Background()); err != nil || len(again.Changes) > 0 || r.applied != n {
			t.Fatalf("again: %+v, %v", again, err)
		}
	})
}
