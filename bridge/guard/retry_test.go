package guard_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// retrySoon is within what a failure of a moment may delay things.
const retrySoon = 10 * time.Second

// What could not be carried out is carried out soon after, whatever it was: also where
// the leg says that the room is not joined, and no other word comes, as while a stream is
// resumed.
func TestWhatFailedIsTriedAgain(t *testing.T) {
	for _, failure := range []error{errors.New("timeout"), bridge.ErrNotReady} {
		for _, tt := range []struct {
			name string
			do   func(h *house)
			want string
		}{
			{"a kick", func(h *house) { h.irc.Join(channel, onIRC("eve", "")) }, "KICK #finance eve"},
			{"a mute", func(h *house) { h.irc.Join(lobby, onIRC("loud", "loud")) }, "MODE #lobby +b " + loudMute},
			{"an op", func(h *house) { h.irc.Join(channel, onIRC("alice", "alice")) }, "MODE #finance +o alice"},
			{"an invitation", func(h *house) {
				h.irc.See(bridge.Sight{Kind: bridge.SightInvited, Leg: "corp", Room: channel, Facts: onIRC("bob", "bob")})
			}, "INVITE bob #finance"},
			{"a lockdown", func(h *house) {
				_, err := h.g.Lockdown(context.Background(), "lobby", time.Hour, "alice")
				must(h.t, err)
			}, "MODE #lobby +i"},
			{"a kick from a MUC", func(h *house) { h.xmpp.Join(muc, onXMPP("eve", "eve@else.example")) }, "none eve"},
			{"a repair", func(h *house) { h.irc.Mode(channel, "-s", by("carol")) }, "MODE #finance +s"},
		} {
			t.Run(tt.name+" "+failure.Error(), func(t *testing.T) {
				live(t, quietly, func(h *house) {
					h.irc.Fail(failure)
					h.xmpp.Fail(failure)
					tt.do(h)
					h.wait(1500 * time.Millisecond)
					h.irc.Fail(nil)
					h.xmpp.Fail(nil)
					wait := retrySoon
					if tt.name == "a repair" {
						wait = 40 * time.Second // the state is read anew before
					}
					h.wait(wait)
					h.has("done", append(h.irc.Lines(), h.xmpp.Lines()...), tt.want)
					h.wait(20 * time.Minute)
					if lines := append(h.irc.Lines(), h.xmpp.Lines()...); tt.name != "a lockdown" && slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, tt.want) }) {
						t.Errorf("done again:\n%s", strings.Join(lines, "\n"))
					}
				})
			})
		}
	}
}

// What fails for good is not tried for ever at once: a few times, then now and then, and
// the admins are told.
func TestRetriesAreBounded(t *testing.T) {
	for _, failure := range []error{errors.New("forbidden"), bridge.ErrNotReady} {
		live(t, nil, func(h *house) {
			h.irc.Fail(failure)
			h.irc.Join(channel, onIRC("eve", ""))
			h.wait(2 * time.Minute)
			h.has("alarms", h.takeAlarms(), "corp/#finance: what the guard asked for was not done: "+failure.Error())
			if n := len(h.acts(guard.Query{Who: "eve"})); n < 5 || n > 9 {
				t.Errorf("%v: tried %d times in two minutes", failure, n)
			}
			h.wait(time.Hour)
			if n := len(h.acts(guard.Query{Who: "eve"})); n > 9+60/2 {
				t.Errorf("%v: tried %d times in an hour", failure, n)
			}
			h.irc.Fail(nil)
			h.wait(5 * time.Minute)
			h.same("there", h.irc.Nicks(channel))
			if alarms := h.g.Status().Rooms[0].Alarms; slices.ContainsFunc(alarms, func(a string) bool { return strings.Contains(a, "not done") }) {
				t.Errorf("still: %q", alarms)
			}
		})
	}
}

// A removal that failed counts once in the budget, however often it is tried: in a small
// room the second try must not shut it.
func TestRetryCountsOnce(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(lobby, onIRC("bob", "bob"))
		h.fill(1)
		h.irc.Fail(errors.New("timeout"))
		must(t, h.g.Reload(closeLobby(h.cfg)))
		h.wait(20 * time.Second)
		h.irc.Fail(nil)
		h.wait(30 * time.Second)
		h.same("kicks", h.kicked(), "KICK #lobby user0 :this channel is for members: log in to your services account first, then join again, or ask an operator")
		if s := h.g.Status().Rooms[1]; s.Lockdowns != 0 {
			t.Errorf("the room was shut %d times", s.Lockdowns)
		}
	})
}

// One change that a MUC refuses does not stop the others of the same moment.
func TestOneRefusalStopsNothingElse(t *testing.T) {
	live(t, nil, func(h *house) {
		h.xmpp.Refuse(func(s *policy.MUCStep) error {
			if len(s.Holders) > 0 {
				return errors.New("not-allowed")
			}
			return nil
		})
		h.xmpp.Join(muc, onXMPP("zoe", "zoe@else.example"))
		must(t, h.g.Disable(context.Background(), "finance", "alice"))
		_, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "carol", By: "alice"})
		must(t, err)
		h.xmpp.Join(muc, onXMPP("carol", "carol@corp.example"))
		h.wait(time.Second)
		h.xmpp.Lines()
		must(t, h.g.Enable(context.Background(), "finance", "alice"))
		h.wait(30 * time.Second)
		if there := h.xmpp.Nicks(muc); slices.Contains(there, "zoe") {
			t.Errorf("there: %q", there)
		}
	})
}

// A repair that the room refuses again and again does not make others wait: what fails for a
// moment beside it is tried again as soon as ever.
func TestRefusedRepairDelaysNothing(t *testing.T) {
	live(t, nil, func(h *house) {
		h.xmpp.Refuse(func(s *policy.MUCStep) error {
			if len(s.Fields) > 0 {
				return errors.New("forbidden")
			}
			return nil
		})
		h.xmpp.Change(muc, func(p *guardtestPlace) { p.Config[policy.FieldMembersOnly] = "0" })
		h.xmpp.See(bridge.Sight{Kind: bridge.SightMode, Leg: "bot", Room: muc, What: "config", By: by("carol")})
		h.wait(20 * time.Minute)
		if alarms := h.takeAlarms(); len(alarms) != 1 || !strings.Contains(alarms[0], "not done: forbidden") {
			t.Errorf("twenty minutes of refusals: %q", alarms)
		}
		h.xmpp.Fail(errors.New("timeout"))
		h.xmpp.Join(muc, onXMPP("eve", "eve@else.example"))
		h.wait(time.Second)
		h.xmpp.Fail(nil)
		h.wait(retrySoon)
		h.has("steps", h.xmpp.Lines(), "none eve")
		h.xmpp.Refuse(nil)
		h.wait(time.Minute)
		if alarms := h.g.Status().Rooms[0].Alarms; len(alarms) != 0 {
			t.Errorf("it is done, and still: %q", alarms)
		}
	})
}
