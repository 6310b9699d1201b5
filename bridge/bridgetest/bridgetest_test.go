package bridgetest

import (
	"testing"

	"drawbridge/bridge"
)

func TestMemoryJournal(t *testing.T) {
	Journal(t, func(*testing.T) bridge.Journal { return bridge.NewMemory() })
}

func TestFakeLegConforms(t *testing.T) {
	room := bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#dev"}
	Conformance(t, room, func(*testing.T) bridge.Leg {
		l := NewLeg("corp", "irc")
		l.Only(room)
		return l
	})
}
