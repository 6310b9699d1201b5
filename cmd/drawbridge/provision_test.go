package main

import (
	"errors"
	"strings"
	"testing"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/provision"
	"drawbridge/internal/config"
)

// A room that an armed guard holds is not touched: the guard would set it back.
func TestProvisionLeavesArmedRoomsAlone(t *testing.T) {
	room := bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: "dev@rooms.x"}
	status := func(armed bool, place bridge.Room) guard.Status {
		return guard.Status{Rooms: []guard.RoomStatus{{Name: "office", Armed: armed, Places: []guard.PlaceStatus{{Room: place}}}}}
	}
	other := room
	other.Name = "ops@rooms.x"
	for _, tt := range []struct {
		name string
		s    guard.Status
		want string
	}{
		{"no guard", guard.Status{}, ""},
		{"dry run", status(false, room), ""},
		{"another room", status(true, other), ""},
		{"armed", status(true, room), "drawbridge guard disable office, provision, guard enable office"},
	} {
		err := notArmed(tt.s, room)
		var p *provisionProblem
		if got := errors.As(err, &p); got != (tt.want != "") || got && p.hint != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	kept := &config.Config{Rooms: []config.Room{{Name: "office", XMPP: &config.RoomXMPP{Account: "bot", Room: "dev@rooms.x"}, Lock: config.RoomLock{Affiliations: true}}}}
	if !listKept(kept, room) || listKept(kept, other) {
		t.Error("whose list a guard keeps is not known")
	}
}

// A guarded room of both kinds is a pair, too, without a bridge.
func TestProvisionEnds(t *testing.T) {
	c := &config.Config{Rooms: []config.Room{
		{Name: "office", IRC: &config.RoomIRC{Network: "corp", Channel: "#Dev"}, XMPP: &config.RoomXMPP{Account: "bot", Room: "dev@rooms.x"}},
		{Name: "half", IRC: &config.RoomIRC{Network: "corp", Channel: "#half"}},
	}}
	ch, room, err := ends(c, provisionArgs{Bridge: "office"})
	if err != nil || !strings.EqualFold(ch.String(), "corp/#dev") || room.String() != "bot/dev@rooms.x" {
		t.Errorf("%v, %v, %v", ch, room, err)
	}
	if _, _, err := ends(c, provisionArgs{Bridge: "half"}); err == nil {
		t.Error("a channel alone is a pair")
	}
}

func TestProvisionText(t *testing.T) {
	a := provisionAnswer{"corp/#dev", "bot/dev@rooms.x", provision.Result{Changes: []string{"configuration: members-only"}, PutOut: []string{"mallory"}, Alarms: []string{"the service has no x"}}}
	for _, tt := range []struct {
		done bool
		want string
	}{
		{false, "dev: corp/#dev becomes bot/dev@rooms.x\nto do:\n  configuration: members-only\nputs out, as no members:\n  mallory\ncannot be had:\n  the service has no x\nNothing was done: --yes does it."},
		{true, "dev: corp/#dev becomes bot/dev@rooms.x\ndone:\n  configuration: members-only\nput out, as no members:\n  mallory\ncannot be had:\n  the service has no x"},
	} {
		if a.Done = tt.done; a.text("dev") != tt.want {
			t.Errorf("done %v:\n%s", tt.done, a.text("dev"))
		}
	}
}

// What was done stands in the audit, with who ordered it; also where it ended half-way.
func TestProvisionIsAudited(t *testing.T) {
	ch, room := bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#dev"}, bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: "dev@rooms.x"}
	r := provision.Result{Changes: []string{"admin: alice@x", "configuration: members-only"}, PutOut: []string{"mallory"}, Invited: []string{"alice@x"}}
	act := provisionAct("dev", ch, room, "console", &r, nil)
	want := "provision dev from corp/#dev: admin: alice@x; configuration: members-only; put out as no members: mallory; invited: alice@x"
	if act == nil || act.Acts != want || act.Actor != "console" || act.Result != "done" || act.Place != "bot/dev@rooms.x" {
		t.Errorf("%+v", act)
	}
	if act := provisionAct("dev", ch, room, "console", &r, errors.New("gone")); act == nil || act.Result != "not whole: gone" {
		t.Errorf("%+v", act)
	}
	if act := provisionAct("dev", ch, room, "console", &provision.Result{Done: true}, nil); act != nil {
		t.Errorf("nothing was done, and %+v", act)
	}
	r.Changes = make([]string, maxActChanges+3)
	if act := provisionAct("dev", ch, room, "console", &r, nil); !strings.Contains(act.Acts, "and 3 more") {
		t.Errorf("%+v", act)
	}
}
