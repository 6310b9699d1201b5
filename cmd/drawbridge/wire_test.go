package main

import (
	"reflect"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/config"
	"drawbridge/irc"
	"drawbridge/policy"
	"drawbridge/xmpp"
	"drawbridge/xmpp/stream"
)

// full is a configuration in which everything that can be set is set.
func full() *config.Config {
	return &config.Config{
		Store: config.Store{Queue: 100},
		Networks: []config.Network{
			{
				Name: "corp", Server: []string{"a:6697", "b:6697"}, TLS: config.TLSOff, CAFile: "ca.pem", PinSHA256: []string{"11"},
				Nick: "nick", Username: "user", Realname: "real", Password: config.NewSecret("pass"), Services: "services.example",
				SASL: &config.SASL{Mechanism: "plain", Account: "acc", Password: config.NewSecret("sasl"), CertFile: "cert.pem"},
			},
			{Name: "open", Server: []string{"c:6697"}, TLS: config.TLSOn, Nick: "n"},
		},
		Accounts: []config.Account{
			{Name: "bot", JID: "bot@x/r", Password: config.NewSecret("pw"), Server: "x:5222", TLS: config.TLSDirect, CAFile: "xca.pem", PinSHA256: []string{"22"}},
			{Name: "idle", JID: "idle@x", Password: config.NewSecret("pw2")},
		},
		People: []config.Person{
			{Name: "alice", JIDs: []string{"alice@x"}, OpenPGP: []string{"AA"}, AllowWeakKey: true, IRC: []config.IRCIdentity{{Name: "corp", Accounts: []string{"al"}, CertFPs: []string{"ff"}, Hosts: []string{"*!*@al.x"}}}, Groups: []string{"staff"}},
			{Name: "bob", JIDs: []string{"bob@x"}},
		},
		Admin: config.Admin{People: []string{"alice"}},
		Bridges: []config.Bridge{
			{
				Name: "dev",
				IRC:  []config.Channel{{Network: "corp", Channel: "#Dev", Key: config.NewSecret("k"), Require: "clear"}, {Network: "open", Channel: "#o"}},
				XMPP: &config.BridgeXMPP{
					Account: "bot", People: []string{"alice"},
					Rooms: []config.MUC{{Room: "r@m", Nick: "rn", Password: config.NewSecret("rp"), Require: "clear"}, {Room: "s@m"}},
				},
				Require: policy.Floor{In: policy.Sealed, Out: policy.Verified}, Schemes: []string{"openpgp"}, Trust: "pinned",
				WhenBlocked: config.WhenBlocked{Hold: time.Hour, Then: "bounce"}, Offline: config.Offline{Keep: 2 * time.Hour, Lines: 3},
				Late: config.Late{After: 4 * time.Minute, Digest: 5}, OnDoubt: "skip",
				Show: config.Show{IRC: "i", XMPP: "x", Joins: "digest"}, Announce: "hello",
			},
			{Name: "two", XMPP: &config.BridgeXMPP{Account: "bot", People: []string{"bob"}}},
		},
	}
}

// allSet fails for each field of v that is zero, but for those in except, with
// the reason why the configuration does not set them.
func allSet(t *testing.T, v any, except map[string]string) {
	t.Helper()
	rv := reflect.ValueOf(v)
	for i := range rv.NumField() {
		name := rv.Type().Field(i).Name
		if rv.Field(i).IsZero() != (except[name] != "") {
			t.Errorf("%T.%s = %v; expected zero: %v", v, name, rv.Field(i), except[name] != "")
		}
	}
}

func TestIRCConfigSetsEverything(t *testing.T) {
	c := full()
	got := ircConfig(c, c.Network("corp"))
	allSet(t, got, map[string]string{
		"KeyFile": "the certificate's file holds it", "ServerName": "the host dialled", "QuitMessage": "default",
		"Keepalive": "default", "RegisterTimeout": "default",
	})
	allSet(t, got.SASL, nil)
	if want := []irc.ChannelConfig{{Name: "#Dev", Key: "k"}}; !reflect.DeepEqual(got.Channels, want) {
		t.Errorf("channels %v, want %v", got.Channels, want)
	}
	if got := ircConfig(c, c.Network("open")); got.TLSOff || got.SASL != (irc.SASLConfig{}) {
		t.Errorf("open: %+v", got)
	}
}

func TestXMPPConfigSetsEverything(t *testing.T) {
	c := full()
	got := xmppConfig(c, c.Account("bot"))
	allSet(t, got, map[string]string{
		"ChannelBinding": "auto", "AllowPlain": "never", "Nick": "each room has its own", "Status": "none", "HideVersion": "no secret",
		"PingAfter": "default", "PingTimeout": "default", "SelfPing": "default", "MaxStanza": "default",
	})
	allSet(t, got.TLS, nil)
	if got.TLS.Mode != stream.DirectTLS {
		t.Errorf("TLS mode %v", got.TLS.Mode)
	}
	if len(got.People) != 2 || got.People[0].Name != "alice" || got.People[1].Name != "bob" {
		t.Errorf("people %v: of both bridges of the account, in order", got.People)
	}
	allSet(t, got.People[0], map[string]string{"OTR": "a later version", "Certified": "the keyring tells", "Gone": "the keyring tells"})
	if want := []xmpp.RoomConfig{{JID: "r@m", Nick: "rn", Password: "rp"}, {JID: "s@m"}}; !reflect.DeepEqual(got.Rooms, want) {
		t.Errorf("rooms %v, want %v", got.Rooms, want)
	}
	for mode, want := range map[config.TLSMode]stream.TLSMode{config.TLSStartTLS: stream.StartTLS, config.TLSOff: stream.NoTLS, "": stream.StartTLS} {
		if got := streamTLS(mode); got != want {
			t.Errorf("streamTLS(%q) = %v", mode, got)
		}
	}
}

func TestCoreConfigSetsEverything(t *testing.T) {
	c := full()
	got := coreConfig(c, []leg{{}}, nil)
	allSet(t, got, map[string]string{"Location": "local time"})
	b := got.Bridges[0]
	allSet(t, b, nil)
	allSet(t, b.Offline, nil)
	allSet(t, b.Late, nil)
	want := []bridge.RoomConfig{
		{Room: bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#dev"}, Floor: &policy.Floor{}},
		{Room: bridge.Room{Leg: "open", Kind: bridge.Channel, Name: "#o"}},
		{Room: bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}},
		{Room: bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: "r@m"}, Floor: &policy.Floor{}},
		{Room: bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: "s@m"}},
	}
	if !reflect.DeepEqual(b.Rooms, want) {
		t.Errorf("rooms %v, want %v", b.Rooms, want)
	}
	if b.OnDoubt != bridge.Skip || b.Joins != bridge.JoinsDigest || b.Floor != c.Bridges[0].Require {
		t.Errorf("%+v", b)
	}
}

// An explicit 0 in the file is not the default: the core's default for 0 is another.
func TestExplicitZeroIsNone(t *testing.T) {
	b := bridgeConfig(&config.Bridge{})
	if b.WhenBlocked.Hold >= 0 || b.Offline.Keep >= 0 || b.Offline.Lines >= 0 || b.Late.Digest >= 0 {
		t.Errorf("%+v", b)
	}
}

func TestOnlyUsedLegsAreConnected(t *testing.T) {
	if got := legNames(full()); !reflect.DeepEqual(got, []string{"corp", "open", "bot"}) {
		t.Errorf("legs %v", got)
	}
}
