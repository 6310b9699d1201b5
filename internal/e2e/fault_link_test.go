//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// Each link of the bot is cut, by a reset and by a hole that swallows everything,
// and each server is killed and comes back, while everybody who can goes on
// talking. Nothing is lost that anybody had, nothing comes twice or too early;
// what nobody kept is said to be missing.
func TestFaultLinksAndServers(t *testing.T) {
	t.Parallel()
	for _, tt := range pairs {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			tr := newTriangle(h, tt.irc(h), tt.xmpp(h), 200*time.Millisecond)
			for round := range soak() {
				for _, f := range tr.faults(rule{noHistory: tt.noHistory, twice: tt.unknown}) {
					inRoom, toAlice := tr.gaps()
					f.do()
					tr.statusShows(", ready")
					tr.load.goesOn(3)
					tr.judge(fmt.Sprintf("%s: %s %d", tt.name, f.name, round+1), f.rule)
					if r, a := tr.gaps(); f.leg == "corp" && (r > inRoom) != f.gap || f.leg == "corp" && (a > toAlice) != f.gap {
						t.Errorf("%s: the gap was told %d times in the room and %d times to alice", f.name, r-inRoom, a-toAlice)
					}
				}
			}
		})
	}
}

// fault is one thing that breaks and is mended again.
type fault struct {
	name string
	leg  string // whose link it breaks
	do   func()
	rule rule
	gap  bool // it has to be said in every room that lines may be missing
}

// gaps counts how often the room and alice were told of a gap.
func (tr *triangle) gaps() (inRoom, toAlice int) {
	const gap = "Not connected to corp/#dev"
	for _, st := range tr.dora.Stanzas() {
		if text, ok := roomText(st); ok && strings.Contains(text, gap) {
			inRoom++
		}
	}
	for _, st := range tr.alice.Stanzas() {
		if text, ok := tr.sealer.open(st); ok && strings.Contains(text, gap) {
			toAlice++
		}
	}
	return inRoom, toAlice
}

func (tr *triangle) faults(r rule) []fault {
	fromMemory := r
	if !r.noHistory {
		fromMemory.twice = window // a killed IRC server takes its history along
	}
	irc := func(by func()) func() { return func() { tr.cut(tr.toIRC, by, "corp", 15) } }
	xmpp := func(by func()) func() { return func() { tr.cut(tr.toJab, by, "bot", 15) } }
	return []fault{
		{"link to IRC reset", "corp", irc(tr.toIRC.Cut), r, r.noHistory},
		{"link to XMPP reset", "bot", xmpp(tr.toJab.Cut), r, false},
		{"link to IRC a black hole", "corp", irc(tr.toIRC.BlackHole), r, r.noHistory},
		{"link to XMPP a black hole", "bot", xmpp(tr.toJab.BlackHole), r, false},
		{"IRC server killed", "corp", tr.killIRC, fromMemory, true},
		{"XMPP server killed", "bot", tr.killXMPP, r, false},
	}
}

// cut breaks a link, and mends it when the bot has seen it and n lines were said.
func (tr *triangle) cut(p *lab.Proxy, by func(), leg string, n int) {
	tr.t.Helper()
	by()
	tr.legIsDown(leg)
	tr.load.goesOn(n)
	p.Restore()
}

// legIsDown waits until the bot knows that a leg has lost its link. A black hole
// takes it most of a minute.
func (tr *triangle) legIsDown(leg string) {
	tr.t.Helper()
	if !lab.Poll(3*time.Minute, func() bool {
		out, _, _ := tr.try("status")
		_, table, _ := strings.Cut(out, "\nLEG")
		_, row, _ := strings.Cut(table, "\n"+leg+" ")
		row, _, _ = strings.Cut(row, "\n")
		f := strings.Fields(row)
		return len(f) > 1 && f[1] != "up"
	}) {
		tr.t.Fatalf("the bot never saw that leg %s has no link", leg)
	}
}

// killIRC kills the IRC server for ten seconds. Who is on it falls silent before:
// what a server had not got yet, nobody had.
func (tr *triangle) killIRC() {
	tr.t.Helper()
	tr.fromIRC.now(nil)
	last := loadLine("carl", tr.fromIRC.count())
	tr.reads("dave", tr.dave.Lines, last)
	tr.irc.Kill()
	tr.toIRC.Cut() // people are back before the bot
	tr.load.collect()
	tr.load.goesOn(50)
	tr.irc.Restart()
	tr.peopleOnIRC()
	tr.onIRC.next = heardOf(tr.dave.Lines, channelText)
	tr.fromIRC.now(tr.carlSays())
	tr.toIRC.Restore()
}

// killXMPP kills the XMPP server for ten seconds, likewise. What it had for people
// when it died they find in their archives; what they had read is read, though an
// ejabberd may lose its archive's last lines.
func (tr *triangle) killXMPP() {
	tr.t.Helper()
	tr.fromRoom.now(nil)
	tr.fromAlice.now(nil)
	for _, s := range []*speaker{tr.fromRoom, tr.fromAlice} {
		tr.reads("dave", tr.dave.Lines, loadLine(s.name, s.count()))
	}
	tr.xmpp.Kill()
	tr.toJab.Cut()
	tr.load.collect()
	tr.load.goesOn(50)
	tr.xmpp.Restart()
	tr.peopleOnXMPP()
	tr.fromArchive(tr.inRoom, tr.dora.Archive(devRoom), roomText)
	tr.fromArchive(tr.toA, tr.alice.Archive(""), tr.sealer.open)
	tr.inRoom.next = heardOf(tr.dora.Stanzas, roomText)
	tr.toA.next = heardOf(tr.alice.Stanzas, tr.sealer.open)
	tr.fromRoom.now(tr.dora.say)
	tr.fromAlice.now(tr.aliceSays())
	tr.toJab.Restore()
}

// fromArchive makes an archive what a reader has read in this round, with what was read
// before and is not in it.
func (tr *triangle) fromArchive(r *reader, archive []string, text func(string) (string, bool)) {
	before := r.read
	r.read = map[string][]int{}
	for _, st := range archive {
		s, _ := text(st)
		sender, n, ok := parseLoadLine(s)
		if !ok {
			continue
		}
		for _, sp := range tr.load.speakers {
			if sp.name == sender && n >= sp.first {
				r.read[sender] = append(r.read[sender], n)
			}
		}
	}
	for sender, lines := range before {
		for _, n := range lines {
			if got := r.read[sender]; !slices.Contains(got, n) {
				at := slices.IndexFunc(got, func(later int) bool { return later > n })
				if at < 0 {
					at = len(got)
				}
				r.read[sender] = slices.Insert(got, at, n)
			}
		}
	}
}
