package bridge_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"drawbridge/bridge"
)

// benchLeg proves every message at once, and counts.
type benchLeg struct {
	name string
	sink bridge.Sink
	up   chan struct{}
	n    atomic.Int64
	goal atomic.Int64
	done chan struct{}
}

func (l *benchLeg) Name() string { return l.name }

func (l *benchLeg) Run(ctx context.Context, sink bridge.Sink) error {
	l.sink = sink
	close(l.up)
	<-ctx.Done()
	return nil
}

func (l *benchLeg) Send(_ context.Context, m bridge.Outgoing) error {
	l.sink.Prove(bridge.Proof{Room: m.To, ID: m.ID, Outcome: bridge.Delivered})
	if l.n.Add(1) == l.goal.Load() {
		close(l.done)
	}
	return nil
}

func (l *benchLeg) Window(bridge.Room) int   { return 8 }
func (l *benchLeg) Status() bridge.LegStatus { return bridge.LegStatus{Name: l.name} }

// BenchmarkRelay is a message's whole way through the core: intake, route,
// journal, outbox, Send, proof, confirmation. Its cost must not grow with the
// number of bridges. "paced" waits for each line: latency; "flood" does not.
func BenchmarkRelay(b *testing.B) {
	for _, bridges := range []int{1, 100} {
		for _, mode := range []string{"flood", "paced"} {
			b.Run(fmt.Sprintf("%s/bridges=%d", mode, bridges), func(b *testing.B) { benchRelay(b, bridges, mode == "paced") })
		}
	}
}

func benchRelay(b *testing.B, bridges int, paced bool) {
	irc := &benchLeg{name: "corp", up: make(chan struct{}), done: make(chan struct{})}
	xmpp := &benchLeg{name: "bot", up: make(chan struct{}), done: make(chan struct{})}
	cfg := bridge.Config{Legs: []bridge.Leg{irc, xmpp}, People: people}
	channels := make([]bridge.Room, bridges)
	for i := range channels {
		channels[i] = bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: fmt.Sprintf("#c%d", i)}
		cfg.Bridges = append(cfg.Bridges, bridge.BridgeConfig{Name: fmt.Sprint(i), Rooms: rooms(channels[i],
			bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: fmt.Sprintf("c%d@rooms.corp.example", i)})})
	}
	core, err := bridge.New(cfg, bridge.Deps{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ran := make(chan error)
	go func() { ran <- core.Run(ctx) }()
	<-irc.up
	<-xmpp.up
	text := bridge.NewText("a line of some eighty bytes, as people say them to each other on a working day")
	xmpp.goal.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		m := bridge.Message{Room: channels[i%bridges], From: bridge.Sender{Nick: "carol"}, Text: text, ID: fmt.Sprint(i)}
		if err := irc.sink.Take(ctx, m); err != nil {
			b.Fatal(err)
		}
		for behind := int64(i) - xmpp.n.Load(); paced && behind >= 0 || behind > 10_000; behind = int64(i) - xmpp.n.Load() {
			runtime.Gosched() // an outbox is bounded
		}
	}
	<-xmpp.done
	b.StopTimer()
	cancel()
	if err := <-ran; err != nil {
		b.Fatal(err)
	}
}
