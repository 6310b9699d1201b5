package xmpp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"drawbridge/internal/dialer"
	"drawbridge/xmpp/stream"
)

// How a stream ended, as far as the next attempt depends on it.
type endClass uint8

const (
	endNet         endClass = iota // no TCP: refused, unreachable, no address
	endLost                        // the link or the server went away
	endRefused                     // refused after TCP; may pass
	endViolation                   // we were too fast
	endConflict                    // somebody else uses our resource
	endCertificate                 // the server is not who it should be
	endLogin                       // the login is refused: somebody must act
	endChanged                     // ours: the configuration changed
)

// Ends that we bring about ourselves.
var (
	errReconfigured = errors.New("xmpp: the account's configuration changed")
	errNoPong       = fmt.Errorf("xmpp: %w", stream.ErrNoAnswer)
)

// classify says what kind of end err is, and tells people what to do about it.
func classify(err error, jid string) (endClass, string) {
	var (
		auth  *stream.AuthError
		se    *stream.StreamError
		dns   *net.DNSError
		refus = func(why string) string { return "login of " + jid + " refused: " + why }
	)
	switch {
	case errors.Is(err, errReconfigured):
		return endChanged, "reconnecting: the configuration changed"
	case errors.As(err, &auth):
		switch {
		case auth.Temporary():
			return endRefused, refus("the server asks to try later")
		case auth.Condition == "account-disabled":
			return endLogin, refus("the account is disabled; ask the server's admin")
		case auth.Condition == "not-authorized":
			return endLogin, refus("wrong password, or no such account; fix password_file and reload")
		}
		return endLogin, refus(printable(auth.Condition+" "+auth.Text, 200))
	case errors.Is(err, stream.ErrPin):
		return endCertificate, "the server's certificate is not the pinned one; if it was renewed, change pin_sha256 and reload"
	case dialer.NotTrusted(err):
		why, _, _ := strings.Cut(err.Error(), "; hint: ") // ours names the keys
		return endCertificate, "the server's certificate is not trusted: " + printable(why, 200) + "; set ca_file or pin_sha256"
	case errors.Is(err, stream.ErrNoMechanism):
		return endLogin, refus("the server offers no SCRAM; allow_plain: true allows PLAIN inside TLS")
	case errors.Is(err, stream.ErrNoTLS):
		return endCertificate, "the server offers no STARTTLS; set tls: direct if it has a port for that"
	case errors.As(err, &se):
		text := "the server ended the stream: " + printable(se.Condition+" "+se.Text, 200)
		switch se.Condition {
		case "conflict":
			return endConflict, "another client took the resource of " + jid + "; give it another one, or stop it"
		case "policy-violation", "resource-constraint":
			return endViolation, text
		case "host-unknown", "host-gone":
			return endCertificate, "the server does not serve the domain of " + jid
		case "not-authorized":
			return endLogin, refus("the server ended the session; is the account still there?")
		case "system-shutdown", "connection-timeout", "reset":
			return endLost, text
		}
		return endRefused, text
	case errors.As(err, &dns):
		return endNet, "no address: " + printable(dns.Error(), 200)
	case dialer.Unreachable(err):
		return endNet, "cannot connect: " + printable(err.Error(), 200)
	case errors.Is(err, errNoPong):
		return endLost, "the server does not answer"
	case err == nil:
		return endLost, "the stream ended"
	}
	return endLost, "connection lost: " + printable(err.Error(), 200)
}

// Times of the reconnect policy.
const (
	fastEvery   = 300 * time.Millisecond
	fastFor     = time.Minute
	fastResumes = 5 // so many streams in a row are resumed fast, however short they lived
	slowFirst   = time.Second
	slowLast    = 5 * time.Minute
	conflictMin = time.Minute
	provenAfter = 10 * time.Second // a stream that lived so long was no refusal
	resetAfter  = time.Minute      // a stream that lived so long clears the record
)

// backoff remembers failures in a row.
type backoff struct {
	known bool          // this login has worked: a refusal may be the server's fault
	since time.Time     // first failure of TCP in a row
	slow  time.Duration // last slow step
	quick int           // short-lived streams in a row that can be resumed
}

// next returns how long to wait before the next attempt after an end of this
// class, of a stream that lived for lived (0: Dial failed). Negative: never,
// until somebody acts. A login that has worked before is tried again slowly: a
// server whose user database is away says "not authorized", too.
// resumable tells that the server may still have the session, for a while.
func (b *backoff) next(class endClass, lived time.Duration, resumable bool, now time.Time) time.Duration {
	if lived >= resetAfter {
		*b = backoff{known: true}
	}
	b.known = class != endChanged && (b.known || lived > 0)
	if class != endNet {
		b.since = time.Time{}
	}
	switch class {
	case endLogin:
		if b.known {
			return jitter(slowLast)
		}
		return -1
	case endChanged:
		return 0
	case endCertificate:
		return jitter(slowLast)
	case endNet:
		if b.since.IsZero() {
			b.since = now
		}
		if now.Sub(b.since) < fastFor {
			return jitter(fastEvery)
		}
	case endLost:
		if lived >= provenAfter {
			b.quick = 0
			return jitter(fastEvery)
		}
		if b.quick++; resumable && b.quick <= fastResumes {
			return jitter(fastEvery)
		}
	case endConflict:
		b.slow = max(b.slow, conflictMin/2)
	}
	b.slow = min(max(2*b.slow, slowFirst), slowLast)
	return jitter(b.slow)
}

// jitter spreads d by a quarter either way, so that many bots do not come back
// at once.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}

// pace slows sending down after the server complained. Zero is no limit.
type pace struct {
	gap   time.Duration // between two messages
	next  time.Time     // when the next one may go
	eased time.Time
}

const (
	paceFirst = 25 * time.Millisecond // 40 a second: Prosody's and ejabberd's stock limits
	paceLast  = time.Second
	paceEase  = 10 * time.Minute
)

// halve halves the rate.
func (p *pace) halve(now time.Time) {
	p.gap = min(max(2*p.gap, paceFirst), paceLast)
	p.eased = now
}

// wait returns how long a message has to wait, and books its place.
func (p *pace) wait(now time.Time) time.Duration {
	if p.gap == 0 {
		return 0
	}
	if now.Sub(p.eased) > paceEase {
		p.gap, p.eased = p.gap/2, now
		if p.gap < paceFirst {
			p.gap = 0
			return 0
		}
	}
	at := p.next
	if at.Before(now) {
		at = now
	}
	p.next = at.Add(p.gap)
	return at.Sub(now)
}

// String tells the limit.
func (p *pace) String() string {
	return fmt.Sprintf("sending at most %.3g messages a second: the server complained of the rate", float64(time.Second)/float64(p.gap))
}
