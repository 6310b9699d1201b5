//go:build e2e

package xmpp_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/lab"
)

// TestCutsUnderLoad resets the bot's connection again and again while four flows
// run: bot to alice, alice to bot, bot to room, alice to room. Nothing is lost, nothing
// comes twice or out of order, and nobody in the room sees the bot leave.
func TestCutsUnderLoad(t *testing.T) {
	// Should Prosody 0.12 refuse a session that a torn stanza has spoilt, the archive
	// has what is missing.
	onBothWith(t, lab.Prosody{Archive: true}, func(t *testing.T, h *house) {
		const n, cuts = 600, 6
		proxy := h.Proxy(h.server.Addr)
		h.conf.Server = proxy.Addr
		j := newJournal()
		h.sink = &j.sink
		h.runWith(t, j)
		j.leg = h.leg
		await(t, "the room", func() bool { return h.room(devRoom).Proven })
		alice := h.friend(t)
		alice.JoinRoom(devRoom, "alice")
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { j.run(ctx, t) })

		var toAlice, toRoom []string
		said := said{by: alice}
		began := time.Now()
		base := time.Now()
		for i := range n {
			toAlice, toRoom = append(toAlice, fmt.Sprint("to alice ", i)), append(toRoom, fmt.Sprint("to room ", i))
			for _, m := range []bridge.Outgoing{
				h.out(bridge.Chat, "alice", fmt.Sprintf("chat-identifier-%d", i), toAlice[i]),
				h.out(bridge.MUC, devRoom, fmt.Sprintf("room-identifier-%d", i), toRoom[i]),
			} {
				m.Said = base.Add(time.Duration(i) * time.Microsecond)
				j.say(m)
			}
			said.say(i)
			if i%(n/cuts) == n/cuts-1 {
				proxy.Reset()
			}
			time.Sleep(5 * time.Millisecond)
		}
		all := patient(j, alice, func() bool {
			return j.waiting() == 0 && said.cameTo(j) &&
				len(heardBy(alice, "bot@localhost/")) >= n && len(heardBy(alice, devRoom+"/bot")) >= n
		})
		t.Logf("all there: %v after %v; %d in doubt, %d known again; counts %v", all, time.Since(began), j.doubt, j.again, h.leg.Counts())
		time.Sleep(300 * time.Millisecond) // a line that comes twice may come late
		compare(t, "bot to alice", heardBy(alice, "bot@localhost/"), toAlice)
		compare(t, "bot to room", heardBy(alice, devRoom+"/bot"), toRoom)
		said.compare(t, j)
		if !lab.Poll(10*time.Second, func() bool { return receipts(alice) == n }) {
			t.Errorf("%d receipts for %d lines", receipts(alice), n)
		}
		if resumed := h.leg.Counts()["resumed"]; resumed != h.leg.Counts()["streams"]-1 {
			t.Logf("%d of %d streams resumed", resumed, h.leg.Counts()["streams"]-1)
		}
		for _, st := range alice.Stanzas() {
			if h.leg.Counts()["resumed"] == h.leg.Counts()["streams"]-1 && strings.HasPrefix(st, "<presence") && lab.Attr(st, "from") == devRoom+"/bot" && lab.Attr(st, "type") == "unavailable" {
				t.Error("the bot was seen leaving the room")
			}
		}
	})
}

// TestSessionLost: the link is cut under load, and the server's session of the bot
// ends meanwhile. What was said in the room and to the bot until it is back comes
// from the archives; what it had on the wire is looked for there before it is sent
// again.
func TestSessionLost(t *testing.T) {
	onBothWith(t, lab.Prosody{Archive: true}, func(t *testing.T, h *house) { sessionLost(t, h, true) })
}

// TestSessionLostWithoutArchive is the same on a Prosody without archives: the
// room's history and the offline store have to do.
func TestSessionLostWithoutArchive(t *testing.T) {
	l := lab.New(t)
	h := newHouse(l, l.Prosody(lab.Prosody{}))
	sessionLost(t, h, false)
}

func sessionLost(t *testing.T, h *house, archive bool) {
	n, cut := 130, 20
	if !archive {
		n, cut = 20, 8 // a room of Prosody keeps 20 lines
	}
	proxy := h.Proxy(h.server.Addr)
	h.conf.Server = proxy.Addr
	j := newJournal()
	h.sink = &j.sink
	h.runWith(t, j)
	j.leg = h.leg
	await(t, "the room", func() bool { return h.room(devRoom).Proven })
	alice := h.friend(t)
	alice.JoinRoom(devRoom, "alice")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { j.run(ctx, t) })
	var toAlice, toRoom []string
	said := said{by: alice}
	base := time.Now()
	for i := range n {
		toAlice, toRoom = append(toAlice, fmt.Sprint("to alice ", i)), append(toRoom, fmt.Sprint("to room ", i))
		for _, m := range []bridge.Outgoing{
			h.out(bridge.Chat, "alice", fmt.Sprintf("chat-identifier-%d", i), toAlice[i]),
			h.out(bridge.MUC, devRoom, fmt.Sprintf("room-identifier-%d", i), toRoom[i]),
		} {
			m.Said = base.Add(time.Duration(i) * time.Microsecond)
			j.say(m)
		}
		said.say(i)
		if i == 0 {
			await(t, "the first lines", func() bool { return len(j.got(aliceChat)) == 1 && len(j.got(devMUC)) == 1 })
		}
		if i == cut {
			proxy.Cut()
			other := h.XMPPUser(h.server, "bot", "drawbridge") // ends the bot's session
			other.Close()
		}
		time.Sleep(2 * time.Millisecond)
	}
	time.Sleep(time.Second)
	proxy.Restore()
	all := patient(j, alice, func() bool {
		return j.waiting() == 0 && said.cameTo(j) &&
			len(heardBy(alice, "bot@localhost/")) >= n && len(heardBy(alice, devRoom+"/bot")) >= n
	})
	t.Logf("all there: %v; %d in doubt, %d known again; counts %v", all, j.doubt, j.again, h.leg.Counts())
	time.Sleep(300 * time.Millisecond)
	told := heardBy(alice, "bot@localhost/")
	if !archive { // nobody can be asked: what was on the wire may come twice
		if again := len(told) - len(once(told)); again > j.doubt {
			t.Errorf("%d lines came twice, and %d were in doubt", again, j.doubt)
		}
		told = once(told)
	}
	compare(t, "bot to alice", told, toAlice)
	compare(t, "bot to room", heardBy(alice, devRoom+"/bot"), toRoom)
	if h.ejabberd && len(j.got(aliceChat)) < n {
		said.inChat = existing(t, h, j.got(aliceChat), said.inChat)
	}
	said.compare(t, j)
	if !lab.Poll(10*time.Second, func() bool { return receipts(alice) == len(said.inChat) }) {
		t.Errorf("%d receipts for %d lines", receipts(alice), len(said.inChat))
		for i := range n {
			id := fmt.Sprintf("alice-identifier-%d'", i)
			if !slices.ContainsFunc(alice.Stanzas(), func(st string) bool { return strings.Contains(st, "<received") && strings.Contains(st, id) }) {
				t.Logf("none for %s", id)
			}
		}
	}
	if h.leg.Counts()["resumed"] != 0 {
		t.Error("the session was resumed")
	}
}

// once returns lines without those that came before.
func once(lines []string) (out []string) {
	for _, l := range lines {
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

// existing returns those of said that the bot has or the account's archive holds:
// ejabberd 23.01 can drop what a session has in hand when another login ends it, and
// then it exists nowhere.
func existing(t *testing.T, h *house, got, said []string) (kept []string) {
	t.Helper()
	archive := h.XMPPUser(h.server, "bot", "witness").Archive("")
	for _, line := range said {
		if slices.Contains(got, line) || slices.ContainsFunc(archive, func(st string) bool { return strings.Contains(st, "<body>"+line+"</body>") }) {
			kept = append(kept, line)
			continue
		}
		t.Logf("the server itself has lost %q", line)
	}
	return kept
}

// receipts is how many of alice's lines have a receipt.
func receipts(alice *lab.XMPPUser) int {
	got := map[string]bool{}
	for _, st := range alice.Stanzas() {
		if m := receiptPattern.FindString(st); m != "" {
			got[m] = true
		}
	}
	return len(got)
}
