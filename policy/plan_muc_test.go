package policy

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

const botJID = "dev@corp.example"

// aRoom is open, and has the bot as its only owner.
func aRoom(more ...Holder) MUCSeen {
	return MUCSeen{
		Config:       map[string]string{FieldMembersOnly: "0", FieldModerated: "true", FieldWhois: "moderators"},
		Affiliations: append([]Holder{{botJID, Owner, ""}}, more...),
	}
}

var (
	closed3     = []Field{{FieldMembersOnly, "1"}}
	unmoderated = []Field{{FieldModerated, "0"}}
)

func TestPlanMUC(t *testing.T) {
	alice := Holder{"alice@corp.example", Member, ""}
	theirs := "plans"
	eve := Occupant{"eve", "eve@else.example", NoOne, Participant}
	for _, tt := range []struct {
		name   string
		want   MUC
		seen   MUCSeen
		caps   MUCCaps
		steps  []MUCStep
		alarms int
	}{
		{"nothing to do", MUC{Fields: []Field{{FieldMembersOnly, "false"}}}, aRoom(), MUCCaps{}, nil, 0},
		{
			"the list is written and read back before the room shuts",
			MUC{Fields: closed3, Affiliations: []Holder{alice}},
			aRoom(),
			MUCCaps{},
			[]MUCStep{{Holders: []Holder{alice}}, {Again: true}},
			0,
		},
		{"and then it shuts", MUC{Fields: closed3, Affiliations: []Holder{alice}}, aRoom(alice), MUCCaps{}, []MUCStep{{Fields: closed3}, {Again: true}}, 0},
		{
			"who is no member is counted",
			MUC{Fields: closed3},
			func() MUCSeen { s := aRoom(); s.Occupants = []Occupant{eve}; return s }(),
			MUCCaps{},
			[]MUCStep{{Fields: closed3, Removes: 1}, {Again: true}},
			0,
		},
		{
			"ejabberd: members-only means unmoderated",
			MUC{Fields: append([]Field{{FieldModerated, "1"}}, closed3...)},
			aRoom(),
			MUCCaps{Ejabberd: true},
			[]MUCStep{{Fields: append(slices.Clone(closed3), Field{FieldModerated, "0"})}, {Again: true}},
			0,
		},
		{
			"ejabberd: a ban is looked after, in a room that is not moderated any more",
			MUC{Affiliations: []Holder{{eve.JID, Outcast, "go"}}, Fields: []Field{{FieldModerated, "1"}}},
			aRoom(),
			MUCCaps{Ejabberd: true},
			[]MUCStep{{Fields: unmoderated}, {Holders: []Holder{{eve.JID, Outcast, "go"}}}, {Again: true}},
			0,
		},
		{
			"ejabberd: others' bans hold, too",
			MUC{Fields: []Field{{FieldModerated, "1"}}},
			aRoom(Holder{eve.JID, Outcast, ""}),
			MUCCaps{Ejabberd: true},
			[]MUCStep{{Fields: unmoderated}},
			0,
		},
		{
			"ejabberd: a lockdown moderates it all the same",
			MUC{Shut: true, Fields: []Field{{FieldModerated, "1"}}},
			aRoom(Holder{eve.JID, Outcast, ""}),
			MUCCaps{Ejabberd: true},
			nil,
			0,
		},
		{
			"ejabberd: without outcasts it may be moderated",
			MUC{Fields: []Field{{FieldModerated, "1"}}},
			aRoom(),
			MUCCaps{Ejabberd: true},
			nil,
			0,
		},
		{
			"ejabberd: the last ban ends, and then it is looked at again",
			MUC{Affiliations: []Holder{{eve.JID, NoOne, ""}}},
			func() MUCSeen { s := aRoom(Holder{eve.JID, Outcast, ""}); s.Config[FieldModerated] = "0"; return s }(),
			MUCCaps{Ejabberd: true},
			[]MUCStep{{Holders: []Holder{{eve.JID, NoOne, ""}}}, {Again: true}},
			0,
		},
		{
			"an outcast who came back is removed",
			MUC{},
			func() MUCSeen { s := aRoom(Holder{eve.JID, Outcast, ""}); s.Occupants = []Occupant{eve}; return s }(),
			MUCCaps{},
			[]MUCStep{{Visits: []Visit{{"eve", NoRole, "banned"}}, Removes: 1}},
			0,
		},
		{
			"drift: who has what nobody gave loses it, bans of others stay",
			MUC{Locked: true, Affiliations: []Holder{alice}},
			aRoom(alice, Holder{"eve@else.example", Admin, ""}, Holder{"foe@else.example", Outcast, ""}),
			MUCCaps{},
			[]MUCStep{{Holders: []Holder{{"eve@else.example", NoOne, ""}}}},
			0,
		},
		{"the subject is set back", MUC{Subject: &theirs}, func() MUCSeen { s := aRoom(); s.Subject = new(string); return s }(), MUCCaps{}, []MUCStep{{Subject: &theirs}}, 0},
		{"a subject that is not told yet is left alone", MUC{Subject: &theirs}, aRoom(), MUCCaps{}, nil, 0},
		{"another owner is two admins' matter", MUC{Locked: true}, aRoom(Holder{"co@corp.example", Owner, ""}), MUCCaps{}, nil, 1},
		{
			"another owner is an alarm, also one who is known and may be there",
			MUC{Affiliations: []Holder{{"co@corp.example", Owner, ""}}},
			aRoom(Holder{"co@corp.example", Owner, ""}),
			MUCCaps{},
			nil, 1,
		},
		{"a peer may be owner", MUC{Locked: true, Peers: []string{"co@corp.example"}}, aRoom(Holder{"co@corp.example", Owner, ""}), MUCCaps{}, nil, 0},
		{"demoted: nothing can be done", MUC{Fields: closed3}, MUCSeen{}, MUCCaps{}, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Self = botJID
			got, err := PlanMUC(tt.want, tt.seen, tt.caps, 1)
			if err != nil || !reflect.DeepEqual(got.Steps, tt.steps) || len(got.Alarms) != tt.alarms {
				t.Errorf("%v, alarms %q, steps\n%+v\nwant\n%+v", err, got.Alarms, got.Steps, tt.steps)
			}
		})
	}
}

func TestPlanMUCRefuses(t *testing.T) {
	seen := aRoom()
	seen.Occupants = []Occupant{{"a", "a@x", NoOne, Participant}, {"b", "", NoOne, Participant}}
	if _, err := PlanMUC(MUC{Self: botJID, Fields: closed3}, seen, MUCCaps{}, 1); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
}

// However a room stands, planning and doing in turn ends, as wanted, and nobody
// who is to be a member is ever thrown out by the room turning members-only.
func TestPropertyMUCArrives(t *testing.T) {
	jids := []string{"a@x", "b@x", "c@x", "d@x"}
	rapid.Check(t, func(t *rapid.T) {
		var want MUC
		want.Self, want.Locked = botJID, rapid.Bool().Draw(t, "locked")
		want.Shut = rapid.Bool().Draw(t, "shut")
		want.Fields = rapid.SampledFrom([][]Field{nil, closed3, {{FieldWhois, "anyone"}, {FieldMembersOnly, "1"}}, {{FieldModerated, "1"}}}).Draw(t, "fields")
		seen := aRoom()
		draw := rapid.SampledFrom([]Affiliation{"", Outcast, Member, Admin})
		for _, j := range jids {
			if a := draw.Draw(t, "wants "+j); a != "" {
				want.Affiliations = append(want.Affiliations, Holder{JID: j, Is: a})
			}
			is := draw.Draw(t, "has "+j)
			if is != "" {
				seen.Affiliations = append(seen.Affiliations, Holder{JID: j, Is: is})
			}
			if rapid.Bool().Draw(t, "here "+j) {
				seen.Occupants = append(seen.Occupants, Occupant{j, j, is, Participant})
			}
		}
		caps := MUCCaps{Ejabberd: rapid.Bool().Draw(t, "ejabberd"), Items: 2}
		for range 4 {
			plan, err := PlanMUC(want, seen, caps, len(jids))
			if err != nil {
				t.Fatal(err)
			}
			if len(plan.Steps) == 0 {
				outcast := slices.ContainsFunc(seen.Affiliations, func(h Holder) bool { return h.Is == Outcast })
				if caps.Ejabberd && outcast && !want.Shut && boolField(seen.Config[FieldModerated]) == "1" {
					t.Fatal("bans do not hold in it")
				}
				return
			}
			for _, s := range plan.Steps {
				if s.Again {
					break
				}
				doStep(t, &seen, s, want)
			}
		}
		t.Fatal("it never ends")
	})
}

// doStep applies a step as a room does.
func doStep(t *rapid.T, seen *MUCSeen, s MUCStep, want MUC) {
	for _, h := range s.Holders {
		seen.Affiliations = slices.DeleteFunc(seen.Affiliations, func(x Holder) bool { return x.JID == h.JID })
		if h.Is != NoOne {
			seen.Affiliations = append(seen.Affiliations, h)
		}
		if h.Is == Outcast {
			seen.Occupants = slices.DeleteFunc(seen.Occupants, func(o Occupant) bool { return o.JID == h.JID })
		}
	}
	for _, v := range s.Visits {
		seen.Occupants = slices.DeleteFunc(seen.Occupants, func(o Occupant) bool { return o.Nick == v.Nick && v.Role == NoRole })
	}
	for _, f := range s.Fields {
		seen.Config[f.Var] = f.Value
		if f.Var != FieldMembersOnly {
			continue
		}
		seen.Occupants = slices.DeleteFunc(seen.Occupants, func(o Occupant) bool {
			in := slices.ContainsFunc(seen.Affiliations, func(h Holder) bool { return h.JID == o.JID && h.Is != Outcast })
			wanted := slices.ContainsFunc(want.Affiliations, func(h Holder) bool { return h.JID == o.JID && h.Is != Outcast })
			if !in && wanted {
				t.Fatalf("%s was to be a member and is evicted", o.JID)
			}
			return !in
		})
	}
}
