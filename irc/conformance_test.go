package irc_test

import (
	"context"
	"net"
	"syscall"
	"testing"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/irc"
)

// TestConformance holds the leg to the contract of bridge.Leg.
func TestConformance(t *testing.T) {
	bridgetest.Conformance(t, irc.Room("corp", "#dev"), func(t *testing.T) bridge.Leg {
		refused := func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
		leg, err := irc.New(irc.Config{
			Name: "corp", Servers: []string{"irc.test:6697"}, Nick: "bot", Channels: []irc.ChannelConfig{{Name: "#dev"}},
		}, irc.Deps{Dial: refused})
		if err != nil {
			t.Fatal(err)
		}
		return leg
	})
}
