package web

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drawbridge/bridge"
)

// collector reads the core's snapshot at each scrape, so that a message costs
// the metrics nothing.
type collector struct{ src Source }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("drawbridge_"+name, help, labels, nil)
}

// The metrics. A chat's room name is a person's: no label ever holds a room.
var (
	readyDesc    = desc("ready", "1 if every room is joined and proven by our own echo.")
	startDesc    = desc("start_time_seconds", "When the core started, in Unix time.")
	legDesc      = desc("leg_up", "1 if the network or account is connected.", "leg", "proto")
	connectsDesc = desc("leg_connects_total", "Times the leg came up.", "leg", "proto")
	intakeDesc   = desc("intake_messages", "Messages taken in and not yet in the journal.", "leg")
	intakeBDesc  = desc("intake_bytes", "Their size.", "leg")
	stalledDesc  = desc("intake_stalled", "1 while the leg's reader waits for room in the intake.", "leg")
	strayDesc    = desc("stray_messages_total", "Messages of rooms in no bridge.")
	messagesDesc = desc("messages_total", "Messages taken in, by what became of them.", "bridge", "result")
	copiesDesc   = desc("copies_total", "Copies for destinations that have ended, by how.", "bridge", "fate")
	queuedDesc   = desc("copies_queued_total", "Copies put into outboxes.", "bridge")
	foundDesc    = desc("copies_in_doubt_total", "Copies in doubt, by what the network answered.", "bridge", "answer")
	gapsDesc     = desc("gaps_total", "Times that something said did not reach us, and was told so.", "bridge")
	fullDesc     = desc("full_rooms", "Destinations that take no more: the networks wait.", "bridge")
	intakeHDesc  = desc("intake_held", "Messages taken from the network that wait for room in a queue, unacknowledged.", "leg")
	stRowsDesc   = desc("store_rows", "Rows in the store, parked and lost ones too.")
	stLostDesc   = desc("store_lost_rows", "Rows of earlier runs whose key is gone.")
	stCommitDesc = desc("store_commits_total", "Transactions of the store.")
	stOpsDesc    = desc("store_operations_total", "Operations in them; divided by the transactions, the batch size.")
	stFailedDesc = desc("store_failed_operations_total", "Operations that were not kept, and are tried again.")
	stP99Desc    = desc("store_commit_p99_seconds", "99 of 100 of the last thousand transactions took no longer.")
	stStuckDesc  = desc("store_stuck", "1 while the store takes nothing: the networks wait.")
	droppedDesc  = desc("own_words_dropped_total", "The bot's own words that could not be said.", "bridge")
	balancedDesc = desc("ledger_balanced", "1 while the ledger's sums hold.", "bridge")
	waitingDesc  = desc("queue_rows", "Copies waiting or on the wire.", "bridge", "kind")
	oldestDesc   = desc("queue_oldest_seconds", "Age of the oldest copy waiting.", "bridge", "kind")
	heldDesc     = desc("held_rooms", "Destinations held for want of a usable key.", "bridge")
	roomsDesc    = desc("rooms", "Rooms by kind and state.", "bridge", "kind", "state")
	unprovenDesc = desc("rooms_unproven", "Joined channels and MUCs that have not shown us our own echo.", "bridge")
	keysEndDesc  = desc("key_expiry_timestamp_seconds", "When the first key expires, in Unix time; absent for never.", "of")
)

// Describe sends nothing: which label values there are changes with a reload.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { ch <- readyDesc }

// Collect turns one snapshot into metrics.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	s := c.src.Status()
	gauge(readyDesc, one(c.src.Ready()))
	if !s.Started.IsZero() {
		gauge(startDesc, float64(s.Started.Unix()))
	}
	counter(strayDesc, s.Strays)
	for _, l := range s.Legs {
		gauge(legDesc, one(l.State == bridge.StateUp), l.Name, l.Proto)
		counter(connectsDesc, l.Connects, l.Name, l.Proto)
		gauge(intakeDesc, float64(l.Intake.Messages), l.Name)
		gauge(intakeBDesc, float64(l.Intake.Bytes), l.Name)
		gauge(intakeHDesc, float64(l.Intake.Held), l.Name)
		gauge(stalledDesc, one(!l.Intake.Stalled.IsZero()), l.Name)
	}
	for i := range s.Bridges {
		collectLedger(counter, gauge, &s.Bridges[i])
		collectRooms(gauge, &s.Bridges[i])
	}
	if c.src.Store != nil {
		st := c.src.Store()
		gauge(stRowsDesc, float64(st.Rows))
		gauge(stLostDesc, float64(st.Lost))
		counter(stCommitDesc, st.Commits)
		counter(stOpsDesc, st.Ops)
		counter(stFailedDesc, st.Failed)
		gauge(stP99Desc, st.CommitP99.Seconds())
		gauge(stStuckDesc, one(st.Stuck))
	}
	if c.src.Guard != nil {
		collectGuard(gauge, counter, c.src.Guard())
	}
	if c.src.Migrate != nil {
		collectMigrations(gauge, c.src.Migrate())
	}
	if c.src.KeysEnd == nil {
		return
	}
	own, people := c.src.KeysEnd()
	for of, at := range map[string]time.Time{"bot": own, "people": people} {
		if !at.IsZero() {
			gauge(keysEndDesc, float64(at.Unix()), of)
		}
	}
}

func collectLedger(counter func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string), b *bridge.BridgeStatus) {
	l := &b.Ledger
	for _, m := range []struct {
		result string
		n      uint64
	}{
		{"accepted", l.Accepted},
		{"refused", l.Refused},
		{"unreadable", l.Unreadable},
		{"command", l.Commands},
		{"again", l.Again},
		{"looped", l.Looped},
		{"paused", l.Paused},
	} {
		counter(messagesDesc, m.n, b.Name, m.result)
	}
	for _, m := range []struct {
		fate string
		n    uint64
	}{{"relayed", l.Relayed}, {"bounced", l.Bounced}, {"missed", l.Missed}, {"skipped", l.Skipped}, {"dead", l.Dead}} {
		counter(copiesDesc, m.n, b.Name, m.fate)
	}
	counter(queuedDesc, l.Queued, b.Name)
	for answer, n := range map[string]uint64{"present": l.Found, "absent": l.Absent, "resent": l.Resent, "unread": l.Unread, "skipped": l.Skipped} {
		counter(foundDesc, n, b.Name, answer)
	}
	counter(gapsDesc, l.Gaps, b.Name)
	counter(droppedDesc, l.Dropped, b.Name)
	gauge(balancedDesc, one(l.Balanced()), b.Name)
}

// collectRooms sums over the rooms of each kind.
func collectRooms(gauge func(*prometheus.Desc, float64, ...string), b *bridge.BridgeStatus) {
	type sums struct {
		states  [4]int
		waiting int
		oldest  time.Duration
	}
	kinds := map[bridge.RoomKind]*sums{}
	held, unproven, full := 0, 0, 0
	for i := range b.Rooms {
		q := &b.Rooms[i]
		k := kinds[q.Room.Kind]
		if k == nil {
			k = &sums{}
			kinds[q.Room.Kind] = k
		}
		if int(q.State) < len(k.states) {
			k.states[q.State]++
		}
		k.waiting += q.Waiting
		k.oldest = max(k.oldest, q.Oldest)
		if q.Held != "" {
			held++
		}
		if !q.Full.IsZero() {
			full++
		}
		if q.State == bridge.StateUp && q.Room.Kind != bridge.Chat && !q.Proven {
			unproven++
		}
	}
	for kind, name := range map[bridge.RoomKind]string{bridge.Channel: "channel", bridge.MUC: "muc", bridge.Chat: "chat"} {
		k := kinds[kind]
		if k == nil {
			continue
		}
		gauge(waitingDesc, float64(k.waiting), b.Name, name)
		gauge(oldestDesc, k.oldest.Seconds(), b.Name, name)
		for state, n := range k.states {
			gauge(roomsDesc, float64(n), b.Name, name, bridge.State(state).String())
		}
	}
	gauge(fullDesc, float64(full), b.Name)
	gauge(heldDesc, float64(held), b.Name)
	gauge(unprovenDesc, float64(unproven), b.Name)
}

func one(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}
