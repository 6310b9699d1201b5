package xmpp_test

import (
	"context"
	"syscall"
	"testing"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/policy"
	"drawbridge/xmpp"
	"drawbridge/xmpp/stream"
)

// TestConformance holds the leg to the contract of bridge.Leg, for both kinds of
// its rooms.
func TestConformance(t *testing.T) {
	open := func(t *testing.T) bridge.Leg {
		refused := func(context.Context, stream.Config) (xmpp.Stream, error) { return nil, syscall.ECONNREFUSED }
		leg, err := xmpp.New(xmpp.Config{
			Name: "jabber", JID: "bot@x.test", Password: "secret",
			People: []policy.Person{{Name: "alice", JIDs: []string{"alice@x.test"}}},
			Rooms:  []xmpp.RoomConfig{{JID: "dev@rooms.x.test"}},
		}, xmpp.Deps{Dial: refused})
		if err != nil {
			t.Fatal(err)
		}
		return leg
	}
	for _, room := range []bridge.Room{
		{Leg: "jabber", Kind: bridge.Chat, Name: "alice"},
		{Leg: "jabber", Kind: bridge.MUC, Name: "dev@rooms.x.test"},
	} {
		t.Run(room.Kind.String(), func(t *testing.T) { bridgetest.Conformance(t, room, open) })
	}
}
