// Package web serves /metrics (Prometheus), /healthz and /readyz. It shows
// counts, and never names of people.
package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/migrate"
)

const (
	probeTimeout = 2 * time.Second // for the core to answer /healthz
	stopTimeout  = 2 * time.Second
)

// Source is where the figures come from. Its functions may be called at any
// time, concurrently.
type Source struct {
	Status func() bridge.Status
	// Ready reports whether all rooms are joined and proven by our own echo.
	Ready func() bool
	// KeysEnd returns when the first of the bot's own keys and the first of the
	// people's keys expires, zero for never. It may be nil.
	KeysEnd func() (own, people time.Time)
	// Store returns how the store is doing. It is nil where everything is in memory.
	Store func() StoreFigures
	// Guard returns how guarded rooms are. It is nil where there are none.
	Guard func() guard.Status
	// Migrate returns how far bridges on their way off IRC are. It may be nil.
	Migrate func() []migrate.Status
}

// StoreFigures are those of a store since it was opened.
type StoreFigures struct {
	Rows      int64         // in the outbox, parked and lost ones too
	Commits   uint64        // transactions
	Ops       uint64        // operations in them
	Failed    uint64        // operations that were not kept
	CommitP99 time.Duration // of the last ones
	Stuck     bool          // the last transaction failed
	Lost      int64         // rows of earlier runs whose key is gone
}

// Server is the web server. Make one with New.
type Server struct {
	ln   net.Listener
	http *http.Server
}

// New returns a server on ln, which it closes in the end.
func New(ln net.Listener, src Source, log *slog.Logger) *Server {
	return &Server{ln: ln, http: &http.Server{
		Handler:           Handler(src),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

// Serve answers until ctx ends; then what is under way may finish, for at most
// two seconds.
func (s *Server) Serve(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.ln) }()
	select {
	case err := <-done:
		return fmt.Errorf("web: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := s.http.Shutdown(grace)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	if ended := <-done; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// Handler returns the three pages.
func Handler(src Source) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{src},
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4, DisableCompression: true}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		answer(w, within(r.Context(), func() bool { _ = src.Status(); return true }), "ok", "the core does not answer")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		answer(w, within(r.Context(), src.Ready), "ready", "not ready: see drawbridge status")
	})
	return mux
}

// within reports what probe said, false if it said nothing in time. A probe that
// hangs keeps its goroutine: then the core hangs, and the watchdog ends us.
func within(ctx context.Context, probe func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	said := make(chan bool, 1)
	go func() { said <- probe() }()
	select {
	case ok := <-said:
		return ok
	case <-ctx.Done():
		return false
	}
}

func answer(w http.ResponseWriter, ok bool, yes, no string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		yes = no
	}
	_, _ = io.WriteString(w, yes+"\n") // the client may have gone
}
