package irc

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// stsPolicy says that a host is to be spoken to by TLS alone (IRCv3 sts). It is
// kept under the host of the configured address.
type stsPolicy struct {
	port     string // where TLS was spoken when the policy came
	duration time.Duration
	until    time.Time
}

// maxSTS is the longest duration that is taken at its word.
const maxSTS = 10 * 365 * 24 * time.Hour

// helloTimeout is how long a server may take to answer CAP LS before we take it for
// one that does not know CAP. Until then nothing is said on a connection without
// TLS that TLS should protect.
const helloTimeout = 10 * time.Second

// errWantsTLS ends a connection without TLS that the server wants with it.
var errWantsTLS = errors.New("irc: the server wants TLS (sts)")

// upgradeError is an errWantsTLS that tells where.
type upgradeError struct{ port string }

func (e *upgradeError) Error() string { return errWantsTLS.Error() + " on port " + e.port }

// Unwrap returns errWantsTLS.
func (e *upgradeError) Unwrap() error { return errWantsTLS }

// parseSTS reads the value of the capability: port=6697,duration=2592000,preload.
// What is not there, or makes no sense, is "" or negative.
func parseSTS(value string) (port string, duration time.Duration) {
	duration = -1
	for item := range strings.SplitSeq(value, ",") {
		key, v, _ := strings.Cut(item, "=")
		switch key {
		case "port":
			if n, err := strconv.ParseUint(v, 10, 16); err == nil && n > 0 {
				port = strconv.FormatUint(n, 10)
			}
		case "duration":
			if n, err := strconv.ParseUint(v, 10, 63); err == nil {
				duration = maxSTS
				if n < uint64(maxSTS/time.Second) {
					duration = time.Duration(n) * time.Second
				}
			}
		}
	}
	return port, duration
}

// onSTS handles the sts capability. Without TLS it ends the session, before
// anything was said if it comes with the first CAP LS; the duration means nothing
// there. With TLS it makes, renews or ends the host's policy; the port means nothing
// there.
func (s *session) onSTS(value string) {
	port, duration := parseSTS(value)
	switch {
	case !s.link.secure && port != "":
		if s.err == nil {
			s.err = &upgradeError{port}
		}
	case s.link.secure && duration >= 0:
		s.sts = duration
		s.leg.mem.setPolicy(s.link.host, stsPolicy{s.link.port, duration, s.now.Add(duration)})
	}
}

// link is what a connection was made with.
type link struct {
	host, port string // as dialled; host as configured
	secure     bool
}

// linkTo says how addr is dialled: as configured, or as a policy has it, or with
// TLS on the port upgrade, if there is one.
func (l *Leg) linkTo(cfg Config, addr, upgrade string) (link, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return link{}, err
	}
	to := link{host: strings.ToLower(host), port: port, secure: !cfg.TLSOff}
	if to.secure {
		return to, nil
	}
	if p, ok := l.mem.policy(to.host, l.deps.Now()); ok {
		to.port, to.secure = p.port, true
	}
	if upgrade != "" {
		to.port, to.secure = upgrade, true
	}
	return to, nil
}

// policy returns the policy of a host, if it has one that holds.
func (m *memory) policy(host string, now time.Time) (stsPolicy, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.policies[host]
	if ok && !now.Before(p.until) {
		delete(m.policies, host)
		m.set(stsCursor+host, "")
		return stsPolicy{}, false
	}
	return p, ok
}

// setPolicy keeps a policy; one of no duration ends what there is.
func (m *memory) setPolicy(host string, p stsPolicy) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.duration <= 0 {
		if _, ok := m.policies[host]; ok {
			delete(m.policies, host)
			m.set(stsCursor+host, "")
		}
		return
	}
	m.policies[host] = p
	m.set(stsCursor+host, p.stored())
}

// stored is how a policy is kept: port, duration and end, in seconds.
func (p stsPolicy) stored() string {
	return fmt.Sprintf("%s %d %d", p.port, int64(p.duration/time.Second), p.until.Unix())
}

func parseStoredPolicy(value string) (stsPolicy, bool) {
	f := strings.Fields(value)
	if len(f) != 3 {
		return stsPolicy{}, false
	}
	port, duration := parseSTS("port=" + f[0] + ",duration=" + f[1])
	until, err := strconv.ParseInt(f[2], 10, 64)
	return stsPolicy{port, duration, time.Unix(until, 0)}, err == nil && port != "" && duration > 0
}
