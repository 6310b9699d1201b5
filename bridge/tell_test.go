package bridge_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"testing/synctest"

	"drawbridge/bridge"
)

func TestAdminsHearOfKeyProblemsOnceAnHour(t *testing.T) {
	live(t, func(h *house) {
		cfg := h.cfg
		cfg.Admins = []string{"alice", "nobody"}
		if _, err := h.core.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			must(t, h.xmpp.Notify(bridge.Event{Kind: bridge.KeyProblem, Room: bob, Detail: "bob cannot decrypt"}))
		}
		synctest.Wait()
		if sent := h.xmpp.Sent(); len(sent) != 1 || sent[0].To != alice {
			t.Errorf("sent %v, want one line to alice", sent)
		}
		same(t, "alice hears", told(h.xmpp), "alice: Key problem with bob: bob cannot decrypt")
		if n := h.core.TellAdmins("x"); n != 1 {
			t.Errorf("TellAdmins reached %d", n)
		}
	}, devBridge())
}

// A word for one person goes to their own encrypted chat, and nowhere else.
func TestTellPrivately(t *testing.T) {
	live(t, func(h *house) {
		if !h.core.TellPrivately("bob", "the key is sesame") || h.core.TellPrivately("nobody", "the key is sesame") {
			t.Error("told the wrong ones")
		}
		synctest.Wait()
		same(t, "bob hears", told(h.xmpp), "bob: the key is sesame")
		same(t, "on IRC", told(h.irc))
	}, devBridge())
	b := devBridge()
	b.Floor = clear_
	live(t, func(h *house) {
		if h.core.TellPrivately("bob", "the key is sesame") {
			t.Error("told in clear")
		}
	}, b)
}

func TestAdminsOfAClearBridgeHearNothing(t *testing.T) {
	b := devBridge()
	b.Floor = clear_
	live(t, func(h *house) {
		cfg := h.cfg
		cfg.Admins = []string{"alice"}
		if _, err := h.core.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		if n := h.core.TellAdmins("x"); n != 0 {
			t.Errorf("TellAdmins reached %d", n)
		}
	}, b)
}

func TestStatusSurvivesJSON(t *testing.T) {
	live(t, func(h *house) {
		must(t, h.irc.Notify(bridge.Event{Kind: bridge.LegUp}))
		synctest.Wait()
		s := h.core.Status()
		if s.Legs[0].Connects != 2 { // live says it once
			t.Errorf("connects = %d", s.Legs[0].Connects)
		}
		data, err := json.Marshal(s)
		must(t, err)
		var again bridge.Status
		must(t, json.Unmarshal(data, &again))
		if again.Legs[0].State != s.Legs[0].State || !reflect.DeepEqual(again.Bridges, s.Bridges) {
			t.Errorf("%s\nbecame %+v", data, again)
		}
	}, devBridge())
}
