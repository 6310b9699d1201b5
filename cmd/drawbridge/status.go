package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/internal/config"
	"drawbridge/internal/store"
	"drawbridge/xmpp/e2ee"
)

// report is what `drawbridge status` shows.
type report struct {
	Version versionInfo `json:"version"`
	PID     int         `json:"pid"`
	Config  string      `json:"config"`
	bridge.Status
	Ready    bool          `json:"ready"`           // every room is joined and has shown us our own echo
	Store    *storeReport  `json:"store,omitempty"` // absent: everything is in memory
	Guard    *guard.Status `json:"guard,omitempty"` // absent: no room is guarded
	Keys     []keyReport   `json:"keys"`
	Warnings []string      `json:"warnings,omitempty"`
}

// storeReport is how the store is doing.
type storeReport struct {
	Path string `json:"path"`
	store.Stats
}

// keyReport is one key: a bot's own, or a person's pinned one.
type keyReport struct {
	Account     string    `json:"account,omitempty"` // of a bot's own key
	Person      string    `json:"person,omitempty"`
	Fingerprint string    `json:"fingerprint"`
	Expires     time.Time `json:"expires,omitzero"` // zero: never
	Use         string    `json:"use,omitempty"`    // what ends then: "encryption" or "signing"
	Problem     string    `json:"problem,omitempty"`
}

// status is a snapshot of the bot.
func (b *bot) status() report {
	r := report{
		Version: readVersion(), PID: os.Getpid(), Config: b.path,
		Status: b.core.Status(), Keys: b.keyReports(),
	}
	r.Ready = ready(r.Status)
	if b.store != nil {
		r.Store = &storeReport{b.store.Dir(), b.store.Stats()}
		if p := r.Store.Problem; p != "" {
			r.Warnings = append(r.Warnings, "the store takes nothing: "+p+"; nothing is lost, the networks wait")
		}
	}
	if b.guards() {
		s := b.guard.Status()
		r.Guard = &s
		r.Warnings = append(r.Warnings, guardWarnings(b.config(), &s)...)
	}
	for _, w := range b.config().Warnings {
		r.Warnings = append(r.Warnings, w.Error())
	}
	r.Warnings = append(r.Warnings, expiryWarnings(r.Keys, r.Now)...)
	r.Warnings = append(r.Warnings, b.trustProblems()...)
	return r
}

// config is the configuration in use.
func (b *bot) config() *config.Config {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cfg
}

func (b *bot) ready() bool { return ready(b.core.Status()) }

// ready reports whether every leg is up and every channel and MUC is joined and
// proven by our own echo. A person who is offline does not count.
func ready(s bridge.Status) bool {
	if len(s.Legs) == 0 {
		return false
	}
	for _, l := range s.Legs {
		if l.State != bridge.StateUp {
			return false
		}
		for _, r := range l.Rooms {
			if r.Room.Kind != bridge.Chat && (r.State != bridge.StateUp || !r.Proven) {
				return false
			}
		}
	}
	return true
}

// summary is the one line that systemctl shows.
func (b *bot) summary() string {
	s := b.core.Status()
	legs, rooms, up, joined, waiting := len(s.Legs), 0, 0, 0, uint64(0)
	for _, l := range s.Legs {
		if l.State == bridge.StateUp {
			up++
		}
		for _, r := range l.Rooms {
			rooms++
			if r.State == bridge.StateUp {
				joined++
			}
		}
	}
	for _, br := range s.Bridges {
		waiting += br.Ledger.Waiting
	}
	return fmt.Sprintf("%d/%d legs up, %d/%d rooms up, %d lines waiting", up, legs, joined, rooms, waiting)
}

func newStatus(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the running bot is doing",
		Long: `Show how the running bot is doing: legs, rooms and people, what waits and
why, what each bridge did so far, and when keys expire.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var raw json.RawMessage
			if err := g.call(cmd, "status", nil, &raw); err != nil {
				return err
			}
			if g.json {
				_, err := fmt.Fprintln(g.out, string(raw))
				return err
			}
			var r report
			if err := json.Unmarshal(raw, &r); err != nil {
				return failed(fmt.Errorf("the bot answered in another version's words: %w", err), "drawbridge status --json")
			}
			return r.print(g.out)
		},
	}
	jsonFlag(cmd, g)
	return cmd
}

// print writes r as tables.
func (r *report) print(out io.Writer) error {
	var sb strings.Builder
	w := tabwriter.NewWriter(&sb, 0, 4, 2, ' ', 0)
	line := func(format string, args ...any) { sayf(w, format+"\n", args...) }
	readiness := "not ready"
	if r.Ready {
		readiness = "ready"
	}
	line("drawbridge %s, pid %d, up %s, %s", r.Version.Version, r.PID, span(r.Now.Sub(r.Started)), readiness)
	line("%s", r.Config)
	if r.Store != nil {
		line("store %s: %d rows", r.Store.Path, r.Store.Rows)
	}
	line("\nLEG\tKIND\tSTATE\tSINCE\tAS\tDETAIL")
	var notes []string // below the table, whose columns a line without cells would break
	for _, l := range r.Legs {
		line("%s\t%s\t%s\t%s\t%s\t%s", l.Name, l.Proto, l.State, ago(r.Now, l.Since), dash(l.Self), l.Detail)
		for _, n := range l.Notes {
			notes = append(notes, l.Name+": "+n)
		}
		if !l.Intake.Stalled.IsZero() {
			notes = append(notes, fmt.Sprintf("%s: intake is full since %s (%d messages): nothing is lost, the reader waits", l.Name, ago(r.Now, l.Intake.Stalled), l.Intake.Messages))
		}
	}
	for _, n := range notes {
		line("! %s", n)
	}
	for i := range r.Bridges {
		r.printBridge(line, &r.Bridges[i])
	}
	if r.Guard != nil {
		line("\nGUARDED\tSTATE\tPLACE\tBOT\tTHERE\tQUARANTINED")
		for i := range r.Guard.Rooms {
			room := &r.Guard.Rooms[i]
			for j := range room.Places {
				p := &room.Places[j]
				line("%s\t%s\t%s\t%s\t%d\t%d", room.Name, roomState(r.Guard.Now, room), p.Room, placeWord(p), p.Present, p.Quarantined)
			}
		}
	}
	if len(r.Keys) > 0 || len(r.ownOTR()) > 0 {
		line("\nKEY OF\tFINGERPRINT\tEXPIRES\tDETAIL")
		for _, k := range r.Keys {
			whose := k.Person
			if k.Account != "" {
				whose = "the bot (" + k.Account + ")"
			}
			line("%s\t%s\t%s\t%s", whose, dash(k.Fingerprint), expires(r.Now, k.Expires), k.Problem)
		}
	}
	for _, k := range r.ownOTR() {
		line("the bot (%s)\t%s\tnever\tOTR", k[0], k[1])
	}
	if len(r.Warnings) > 0 {
		line("")
	}
	for _, warn := range r.Warnings {
		line("! %s", warn)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for l := range strings.Lines(sb.String()) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(clean(strings.TrimSuffix(l, "\n")), " ")); err != nil {
			return err
		}
	}
	return nil
}

// ownOTR are the accounts with an OTR key of their own, and its fingerprint.
func (r *report) ownOTR() (out [][2]string) {
	for _, l := range r.Legs {
		for _, k := range l.Keys {
			if k.Kind == string(e2ee.KeyOTR) {
				out = append(out, [2]string{l.Name, k.Fingerprint})
			}
		}
	}
	return out
}

func (r *report) printBridge(line func(string, ...any), b *bridge.BridgeStatus) {
	line("\nBRIDGE %s: at least %s in, %s out", b.Name, b.In, b.Out)
	line("ROOM\tSTATE\tSCHEME\tIN\tOUT\tWAITING\tOLDEST\tDETAIL")
	for _, q := range b.Rooms {
		state := q.State.String()
		if q.State == bridge.StateUp && q.Room.Kind != bridge.Chat && !q.Proven {
			state += " (unproven)"
		}
		if q.Clear && q.Scheme == "" {
			q.Scheme = "clear"
		}
		line("%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s", q.Room, state, dash(q.Scheme), dash(q.In), dash(q.Out), q.Waiting, oldest(q), r.detail(q))
	}
	l := &b.Ledger
	line("received %d = %d accepted + %d refused + %d unreadable + %d commands + %d again + %d looped + %d paused",
		l.Received, l.Accepted, l.Refused, l.Unreadable, l.Commands, l.Again, l.Looped, l.Paused)
	line("queued %d = %d relayed + %d waiting + %d bounced + %d missed + %d skipped + %d dead + %d unproven",
		l.Queued, l.Relayed, l.Waiting, l.Bounced, l.Missed, l.Skipped, l.Dead, l.Unproven)
	line("in doubt: %d had arrived, %d had not and %d could not be asked for: sent again; %d were not read where they got: sent again; %d gaps told, %d own words dropped",
		l.Found, l.Absent, l.Resent, l.Unread, l.Gaps, l.Dropped)
	if !l.Balanced() {
		line("! these sums do not balance: please report it")
	}
	for _, warn := range b.Warnings {
		line("! %s", warn)
	}
}

// detail is what there is to say about a room beside its figures.
func (r *report) detail(q bridge.QueueStatus) string {
	var parts []string
	add := func(s string) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	add(q.Detail)
	if q.Held != "" {
		add("held: " + q.Held)
	}
	if q.Missed > 0 {
		add(fmt.Sprintf("%d missed", q.Missed))
	}
	if !q.Full.IsZero() {
		add("full since " + q.Full.Format("15:04") + ": nothing more is taken in for it")
	}
	if !q.Paused.IsZero() {
		add("paused for " + span(q.Paused.Sub(r.Now)))
	}
	return strings.Join(parts, "; ")
}

func oldest(q bridge.QueueStatus) string {
	if q.Waiting == 0 {
		return "-"
	}
	return span(q.Oldest)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func ago(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(now.Sub(t))
}

// span shows a duration by its two largest units: "3d4h", "12m5s".
func span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%ds", d/time.Second)
	}
}

func expires(now, t time.Time) string {
	switch {
	case t.IsZero():
		return "never"
	case !t.After(now):
		return t.Format(time.DateOnly) + " (expired)"
	default:
		return t.Format(time.DateOnly) + " (" + span(t.Sub(now)) + ")"
	}
}

// clean makes foreign text in s harmless for a terminal: control and invisible
// characters become '?'.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return '?'
		}
		return r
	}, s)
}

// warnSpans are how long before its end a key is warned of.
var warnSpans = []time.Duration{30 * 24 * time.Hour, 7 * 24 * time.Hour, 24 * time.Hour}

// expiryWarnings are the warnings about keys that expire within warnSpans.
func expiryWarnings(keys []keyReport, now time.Time) []string {
	var out []string
	for _, k := range keys {
		left := k.Expires.Sub(now)
		if k.Expires.IsZero() || left > warnSpans[0] {
			continue
		}
		out = append(out, expiryWarning(k, left))
	}
	return out
}

func expiryWarning(k keyReport, left time.Duration) string {
	whose, then := "the key of "+k.Person, "then nothing can be sealed to them: they extend it and you import it again"
	if k.Account != "" {
		whose, then = "the bot's own key of account "+k.Account, "then clients may fall back to clear text: extend it with gpg and put the new export in its place"
	}
	if left <= 0 {
		return fmt.Sprintf("%s (%s) has expired: %s", whose, k.Fingerprint, strings.TrimPrefix(then, "then "))
	}
	return fmt.Sprintf("%s (%s) expires in %s; %s", whose, k.Fingerprint, span(left), then)
}
