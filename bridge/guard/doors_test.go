package guard_test

import (
	"testing"
	"testing/synctest"

	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// A door that would shut members out is no door; where none can be shut, status says so.
func TestDoorsShutNoMemberOut(t *testing.T) {
	const byHand = "the door: no list here can name all who may come, so strangers are removed after they came"
	const wayBack = "the way back in for the bot itself, which has no account here: an operator has to invite it after each restart"
	for _, tt := range []struct {
		name   string
		change func(*guard.Config, *guardtestPlace)
		flags  string
		cannot []string
	}{
		{"lists of accounts", func(*guard.Config, *guardtestPlace) {}, "ntsi", []string{wayBack}},
		{"no lists of accounts: for accounts only", func(_ *guard.Config, p *guardtestPlace) { p.Caps.Software, p.Caps.Extban = policy.UnrealIRCd, false }, "ntsR", []string{wayBack}},
		{"no lists, and no accounts: nothing", func(_ *guard.Config, p *guardtestPlace) {
			p.Caps = policy.ChannelCaps{Software: policy.NgIRCd, FlagModes: "imnPQRstVz", Modes: 5}
			for _, m := range p.Members {
				m.Facts.Account = policy.Fact{Known: policy.Never}
			}
		}, "nts", []string{byHand}},
		{"one comes by a certificate: nothing", func(c *guard.Config, _ *guardtestPlace) {
			c.Policy.People = append(c.Policy.People[:2:2], &policy.Person{Name: "dora", Groups: []string{"finance"}, IRC: map[string]policy.IRCIdentity{"corp": {CertFPs: []string{"dd"}}}})
		}, "nts", []string{byHand}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, nil)
				h.irc.Change(channel, func(p *guardtestPlace) { tt.change(&h.cfg, p) })
				h.start()
				defer func() { h.stop() }()
				h.ready()
				h.irc.Change(channel, func(p *guardtestPlace) {
					if p.Flags != tt.flags {
						t.Errorf("flags %q, want %q", p.Flags, tt.flags)
					}
				})
				h.same("cannot", h.g.Status().Rooms[0].Places[0].Cannot, tt.cannot...)
			})
		})
	}
}
