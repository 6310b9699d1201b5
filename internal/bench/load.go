package main

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Load describes one phase.
type Load struct {
	Name   string
	Dirs   string  // "i2x", "x2i", "both"
	Rate   float64 // lines/s and direction; 0: as fast as allowed
	Window int     // closed loop: at most so many lines under way; 0: open
	N      int     // stop after so many lines and direction
	Dur    time.Duration
	Idle   time.Duration // after the sending, wait until nothing new comes for so long
	MaxEnd time.Duration // but no longer than this
	Fault  *Fault
}

// Fault happens At into the load and is repaired after For.
type Fault struct {
	Kind    string // irc-cut xmpp-cut irc-kill xmpp-kill bridge-kill
	At, For time.Duration
}

// Phase is the result of one load.
type Phase struct {
	Name     string   `json:"phase"`
	Channels int      `json:"channels"`
	I2X      *Metrics `json:"irc_to_xmpp,omitempty"`
	X2I      *Metrics `json:"xmpp_to_irc,omitempty"`
	WallS    float64  `json:"wall_s"`
	CPU1000  float64  `json:"bridge_cpu_s_per_1000"`
	CPUS     CPUs     `json:"cpu_s"`
	RSS      float64  `json:"bridge_rss_mib"`
	PeakRSS  float64  `json:"bridge_peak_rss_mib"`
	StartS   float64  `json:"startup_to_joined_s,omitempty"`
	RejoinS  float64  `json:"rejoin_s,omitempty"` // fault: repair to back in every channel and room, -1: not within the run
	Died     bool     `json:"bridge_died,omitempty"`
}

// CPUs is CPU time in seconds, by who spent it.
type CPUs struct {
	Bridge  float64 `json:"bridge"`
	IRCd    float64 `json:"ircd"`
	Prosody float64 `json:"prosody"`
	Harness float64 `json:"harness"`
}

func selfCPU() float64 {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

func (s *Session) cpus() CPUs {
	return CPUs{s.Bridge.CPU(), s.Srv.IRC.CPU(), s.Srv.XMPP.CPU(), selfCPU()}
}

type poster interface {
	Post(target, text string, flush bool) error
	Up() bool
}

// Run puts one load on the session and measures it.
func (s *Session) Run(ld Load) Phase {
	runtime.GC()
	a, b := s.cpus(), time.Now()
	var ti, tx *Tracker
	if ld.Dirs != "x2i" {
		ti = NewTracker(s.streams(), s.Cfg.Filler, ld.Window)
	}
	if ld.Dirs != "i2x" {
		tx = NewTracker(s.streams(), s.Cfg.Filler, ld.Window)
	}
	s.cur.Lock()
	s.i2x, s.x2i = ti, tx
	s.cur.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), ld.Dur)
	defer cancel()
	var wg sync.WaitGroup
	drive := func(t *Tracker, post []poster, target func(int) string) {
		for k := range post {
			wg.Add(1)
			go func() { defer wg.Done(); s.sender(ctx, ld, t, k, len(post), post[k], target) }()
		}
	}
	if ti != nil {
		var p []poster
		for _, c := range s.ircS {
			p = append(p, c)
		}
		drive(ti, p, func(i int) string { return s.pairs[i%s.C].Channel })
	}
	if tx != nil {
		var p []poster
		for _, c := range s.xmppS {
			p = append(p, c)
		}
		pair := s.Spec != nil && s.Spec.Kind == "pair"
		drive(tx, p, func(i int) string {
			if pair {
				return bridgeUser + "@" + domain
			}
			return s.pairs[i%s.C].RoomJID
		})
	}
	ph := Phase{Name: ld.Name, Channels: s.C}
	var cut, restored int64
	if ld.Fault != nil {
		time.Sleep(ld.Fault.At)
		cut = now()
		s.fault(ld.Fault.Kind, true)
		time.Sleep(ld.Fault.For)
		restored = now()
		s.fault(ld.Fault.Kind, false)
		if s.Spec != nil && s.Spec.Kind == "bot" {
			ph.RejoinS = -1
			for time.Since(b) < ld.Dur {
				if s.BridgeIn() {
					ph.RejoinS = float64(now()-restored) / 1e9
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
	wg.Wait()
	for end := time.Now().Add(ld.MaxEnd); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if quiet(ti, ld.Idle) && quiet(tx, ld.Idle) {
			break
		}
	}
	z := s.cpus()
	ph.WallS = time.Since(b).Seconds()
	ph.CPUS = CPUs{z.Bridge - a.Bridge, z.IRCd - a.IRCd, z.Prosody - a.Prosody, z.Harness - a.Harness}
	n := 0
	pair := s.Spec != nil && s.Spec.Kind == "pair"
	if ti != nil {
		m := ti.Result(ld.Fault != nil, cut, restored)
		n += m.Delivered
		ph.I2X = &m
	}
	if tx != nil {
		m := tx.Result(ld.Fault != nil && !pair, cut, restored)
		n += m.Delivered
		ph.X2I = &m
	}
	if n > 0 {
		ph.CPU1000 = ph.CPUS.Bridge * 1000 / float64(n)
	}
	ph.RSS, ph.PeakRSS = s.Bridge.RSS()
	ph.Died = s.Spec != nil && !s.Bridge.Alive()
	// What is still on its way must not weigh on the next phase.
	waitFor(20*time.Second, func() bool { return still(ti) && still(tx) })
	s.cur.Lock()
	s.i2x, s.x2i = nil, nil
	s.cur.Unlock()
	return ph
}

func still(t *Tracker) bool {
	if t == nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return now()-t.lastAny > int64(500*time.Millisecond)
}

// quiet: everything came, or nothing new came for a while.
func quiet(t *Tracker, idle time.Duration) bool {
	if t == nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	total, last := 0, t.last
	for i := range t.st {
		n := len(t.st[i].recs)
		total += n
		if n > 0 {
			last = max(last, t.st[i].recs[n-1].sent)
		}
	}
	return t.deliv >= total || now()-last > int64(idle)
}

func (s *Session) sender(ctx context.Context, ld Load, t *Tracker, k, senders int, p poster, target func(int) string) {
	n := (ld.N + senders - 1 - k) / senders
	var every time.Duration
	if ld.Rate > 0 {
		every = time.Duration(float64(time.Second) * float64(senders) / ld.Rate)
	}
	next := time.Now().Add(every * time.Duration(k) / time.Duration(senders))
	stream, streams := k, s.streams()
	for i := 0; ld.N == 0 || i < n; i++ {
		if every > 0 {
			if d := time.Until(next); d > 0 {
				select {
				case <-time.After(d):
				case <-ctx.Done():
					return
				}
			}
			next = next.Add(every)
		}
		if ctx.Err() != nil {
			return
		}
		if t.tokens != nil {
			select {
			case <-t.tokens:
			case <-ctx.Done():
				return
			}
		}
		if !p.Up() {
			if every == 0 {
				time.Sleep(time.Millisecond)
			}
			continue
		}
		text, seq := t.Next(stream)
		if err := p.Post(target(stream), text, every > 0 || t.tokens != nil || i%16 == 15 || i == n-1); err != nil {
			t.Unsent(stream, seq)
		}
		if stream += senders; stream >= streams {
			stream = k
		}
	}
}

func (s *Session) fault(kind string, on bool) {
	side, how, _ := strings.Cut(kind, "-")
	switch how {
	case "cut":
		for i, p := range s.proxies {
			if (i == 0) == (side == "irc") {
				if on {
					p.Cut()
				} else {
					p.Restore()
				}
			}
		}
	case "kill":
		switch {
		case side == "bridge" && on:
			s.Bridge.Kill()
		case side == "bridge":
			tell(kind, s.Bridge.Start())
		case side == "irc" && on:
			s.Srv.IRC.Kill()
			s.forget(side)
		case side == "irc":
			tell(kind, s.Srv.StartIRC())
		case side == "xmpp" && on:
			s.Srv.XMPP.Kill()
			s.forget(side)
		case side == "xmpp":
			tell(kind, s.Srv.StartXMPP())
		}
	}
}

// tell says why a fault could not be mended.
func tell(kind string, err error) {
	if err != nil {
		logf("mend %s: %v", kind, err)
	}
}

// forget drops what is known of the bridge's presence on a side.
func (s *Session) forget(side string) {
	s.pmu.Lock()
	if side == "irc" {
		s.ircIn = map[string]bool{}
	} else {
		s.mucIn = map[string]bool{}
	}
	s.pmu.Unlock()
}
