package web

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/migrate"
)

var snapshot = bridge.Status{
	Started: time.Unix(1000, 0),
	Strays:  3,
	Legs: []bridge.LegState{
		{LegStatus: bridge.LegStatus{Name: "corp", Proto: "irc", State: bridge.StateUp}, Connects: 2, Intake: bridge.IntakeStatus{Messages: 4, Bytes: 99, Held: 2}},
		{LegStatus: bridge.LegStatus{Name: "bot", Proto: "xmpp", State: bridge.StateDown}, Intake: bridge.IntakeStatus{Stalled: time.Unix(1, 0)}},
	},
	Bridges: []bridge.BridgeStatus{{
		Name: "dev",
		Rooms: []bridge.QueueStatus{
			{Room: bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#dev"}, State: bridge.StateUp},
			{Room: bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}, State: bridge.StateUp, Waiting: 2, Oldest: 3 * time.Second},
			{Room: bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "bob"}, State: bridge.StateDown, Waiting: 5, Full: time.Unix(9, 0), Oldest: time.Minute, Held: "key of bob expired"},
		},
		Ledger: bridge.Ledger{Received: 12, Accepted: 10, Refused: 2, Queued: 27, Relayed: 20, Waiting: 7, Found: 3, Absent: 1, Resent: 2, Gaps: 4},
	}},
}

func source(ready bool) Source {
	return Source{
		Status: func() bridge.Status { return snapshot },
		Ready:  func() bool { return ready },
		Store: func() StoreFigures {
			return StoreFigures{Rows: 8, Commits: 10, Ops: 25, Failed: 1, CommitP99: 3 * time.Millisecond, Stuck: true, Lost: 1}
		},
		Guard: func() guard.Status {
			return guard.Status{Now: time.Unix(2000, 0), Bans: 2, Lost: 1, Rooms: []guard.RoomStatus{{
				Name: "finance", Armed: true, Shut: time.Unix(3000, 0), Did: map[string]uint64{"kick": 3}, Lockdowns: 1, Repairs: 4, Alarms: []string{"eve is owner"},
				Places: []guard.PlaceStatus{
					{Room: bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#finance"}, Ready: true, Holds: true, ServicesDown: true, Present: 5, Quarantined: 1},
					{Room: bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: "f@m"}, Ready: true},
				},
			}}}
		},
		Migrate: func() []migrate.Status {
			next := migrate.Farewell
			return []migrate.Status{
				{
					Bridge: "dev", Phase: migrate.ReadOnly, Next: &next, Due: time.Unix(1500, 0), Overdue: true, Shut: []string{"80 % are linked"},
					Figures: migrate.Figures{Speakers: 10, Linked: 8, Verified: 6, Lines: 400, Encrypted: 300},
				},
				{Bridge: "old", Phase: migrate.Closed, Held: true, HeldBy: "alice"},
			}
		},
		KeysEnd: func() (time.Time, time.Time) { return time.Time{}, time.Unix(5000, 0) },
	}
}

func get(t *testing.T, h http.Handler, method, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String()
}

func TestMetrics(t *testing.T) {
	code, body := get(t, Handler(source(false)), "GET", "/metrics")
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, body)
	}
	for _, want := range []string{
		"drawbridge_ready 0",
		"drawbridge_start_time_seconds 1000",
		"drawbridge_stray_messages_total 3",
		`drawbridge_leg_up{leg="corp",proto="irc"} 1`,
		`drawbridge_leg_up{leg="bot",proto="xmpp"} 0`,
		`drawbridge_leg_connects_total{leg="corp",proto="irc"} 2`,
		`drawbridge_intake_messages{leg="corp"} 4`,
		`drawbridge_intake_bytes{leg="corp"} 99`,
		`drawbridge_intake_stalled{leg="bot"} 1`,
		`drawbridge_intake_held{leg="corp"} 2`,
		`drawbridge_full_rooms{bridge="dev"} 1`,
		`drawbridge_gaps_total{bridge="dev"} 4`,
		`drawbridge_copies_in_doubt_total{answer="present",bridge="dev"} 3`,
		`drawbridge_copies_in_doubt_total{answer="absent",bridge="dev"} 1`,
		`drawbridge_copies_in_doubt_total{answer="resent",bridge="dev"} 2`,
		"drawbridge_store_rows 8",
		"drawbridge_store_commits_total 10",
		"drawbridge_store_operations_total 25",
		"drawbridge_store_failed_operations_total 1",
		"drawbridge_store_commit_p99_seconds 0.003",
		"drawbridge_store_stuck 1",
		`drawbridge_guard_armed{room="finance"} 1`,
		`drawbridge_guard_shut{room="finance"} 1`,
		`drawbridge_guard_acts_total{effect="kick",room="finance"} 3`,
		`drawbridge_guard_lockdowns_total{room="finance"} 1`,
		`drawbridge_guard_repairs_total{room="finance"} 4`,
		`drawbridge_guard_alarms{room="finance"} 1`,
		`drawbridge_guard_held{leg="corp",room="finance"} 1`,
		`drawbridge_guard_held{leg="bot",room="finance"} 0`,
		`drawbridge_guard_services_down{leg="corp",room="finance"} 1`,
		`drawbridge_guard_quarantined{leg="corp",room="finance"} 1`,
		`drawbridge_guard_present{leg="corp",room="finance"} 5`,
		"drawbridge_guard_bans 2",
		"drawbridge_guard_audit_lost_total 1",
		"drawbridge_guard_audit_waiting 0",
		"drawbridge_store_lost_rows 1",
		`drawbridge_migration_phase{bridge="dev"} 2`,
		`drawbridge_migration_phase{bridge="old"} 4`,
		`drawbridge_migration_people{bridge="dev",state="speakers"} 10`,
		`drawbridge_migration_people{bridge="dev",state="linked"} 8`,
		`drawbridge_migration_people{bridge="dev",state="verified"} 6`,
		`drawbridge_migration_lines{bridge="dev",state="all"} 400`,
		`drawbridge_migration_lines{bridge="dev",state="encrypted"} 300`,
		`drawbridge_migration_gates_open{bridge="dev"} 0`,
		`drawbridge_migration_overdue{bridge="dev"} 1`,
		`drawbridge_migration_next_timestamp_seconds{bridge="dev"} 1500`,
		`drawbridge_migration_held{bridge="dev"} 0`,
		`drawbridge_migration_held{bridge="old"} 1`,
		`drawbridge_messages_total{bridge="dev",result="accepted"} 10`,
		`drawbridge_messages_total{bridge="dev",result="refused"} 2`,
		`drawbridge_copies_total{bridge="dev",fate="relayed"} 20`,
		`drawbridge_copies_queued_total{bridge="dev"} 27`,
		`drawbridge_ledger_balanced{bridge="dev"} 1`,
		`drawbridge_queue_rows{bridge="dev",kind="chat"} 7`,
		`drawbridge_queue_oldest_seconds{bridge="dev",kind="chat"} 60`,
		`drawbridge_queue_rows{bridge="dev",kind="channel"} 0`,
		`drawbridge_held_rooms{bridge="dev"} 1`,
		`drawbridge_rooms{bridge="dev",kind="chat",state="up"} 1`,
		`drawbridge_rooms{bridge="dev",kind="chat",state="down"} 1`,
		`drawbridge_rooms_unproven{bridge="dev"} 1`,
		`drawbridge_key_expiry_timestamp_seconds{of="people"} 5000`,
		"go_goroutines ",
		"process_resident_memory_bytes ",
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	for _, name := range []string{"alice", "bob", `of="bot"`, `migration_gates_open{bridge="old"}`} {
		if strings.Contains(body, name) {
			t.Errorf("%q stands in the metrics", name)
		}
	}
}

func TestProbes(t *testing.T) {
	for _, tt := range []struct {
		path  string
		ready bool
		code  int
		body  string
	}{
		{"/healthz", false, 200, "ok\n"},
		{"/readyz", true, 200, "ready\n"},
		{"/readyz", false, 503, "not ready: see drawbridge status\n"},
		{"/", true, 404, "404 page not found\n"},
		{"/debug/pprof/", true, 404, "404 page not found\n"},
	} {
		if code, body := get(t, Handler(source(tt.ready)), "GET", tt.path); code != tt.code || body != tt.body {
			t.Errorf("%s (ready %v) = %d %q, want %d %q", tt.path, tt.ready, code, body, tt.code, tt.body)
		}
	}
	if code, _ := get(t, Handler(source(true)), "POST", "/readyz"); code != http.StatusMethodNotAllowed {
		t.Errorf("POST = %d", code)
	}
}

func TestHealthOfACoreThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		src := source(true)
		src.Status = func() bridge.Status { <-hang; return snapshot }
		if code, body := get(t, Handler(src), "GET", "/healthz"); code != http.StatusServiceUnavailable {
			t.Errorf("healthz = %d %q", code, body)
		}
		close(hang)
	})
}

func TestServe(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(ln, source(true), slog.New(slog.DiscardHandler)).Serve(ctx) }()
	resp, err := http.Get("http://" + ln.Addr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if string(body) != "ready\n" {
		t.Errorf("said %q", body)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve = %v", err)
	}
}
