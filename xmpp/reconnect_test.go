package xmpp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/stream"
)

func TestReconnectPolicy(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.dials = slices.Repeat([]error{refused}, 1000)
		r.start()
		defer r.stop()
		time.Sleep(time.Minute)
		n := r.dialCount()
		if n < 150 || n > 280 {
			t.Errorf("%d dials in the first minute of a refused port, every 300 ms would be 200", n)
		}
		time.Sleep(time.Hour)
		if n = r.dialCount() - n; n < 10 || n > 30 {
			t.Errorf("%d dials in the hour after", n)
		}
		if st := r.leg.Status(); st.State != bridge.StateDown && st.State != bridge.StateOpening || !strings.Contains(st.Detail, "cannot connect") {
			t.Errorf("status: %v %s", st.State, st.Detail)
		}
		r.dialMu.Lock()
		r.dials = nil
		r.dialMu.Unlock()
		// The fake server answers no ping: the leg comes up, and goes again in time.
		st := r.leg.Status()
		for range 600 {
			if st = r.leg.Status(); st.State == bridge.StateUp {
				break
			}
			time.Sleep(time.Second)
		}
		if st.State != bridge.StateUp {
			t.Errorf("status after the repair: %v %s", st.State, st.Detail)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a wrong password: stop until somebody acts
		r := newRig(t, testConfig())
		r.dials = []error{&stream.AuthError{Mechanism: "SCRAM-SHA-256", Condition: "not-authorized"}}
		r.start()
		defer r.stop()
		time.Sleep(24 * time.Hour)
		st := r.leg.Status()
		if r.dialed != 1 || st.State != bridge.StateRefused || !strings.Contains(st.Detail, "wrong password") {
			t.Errorf("%d dials, %v: %s", r.dialed, st.State, st.Detail)
		}
		c := testConfig()
		c.Password = "new"
		if err := r.leg.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if st := r.leg.Status(); st.State != bridge.StateUp {
			t.Errorf("after the new password: %v %s", st.State, st.Detail)
		}
	})
}

func TestChannelBindingRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		var modes []string
		r.leg.deps.Dial = func(ctx context.Context, c stream.Config) (Stream, error) {
			modes = append(modes, c.ChannelBinding)
			if len(modes) == 1 {
				c.OnBindingRefused()
			}
			return r.dial(ctx, c)
		}
		r.start()
		defer r.stop()
		r.st.Fail(io.EOF)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if want := []string{"", stream.BindingOff}; !slices.Equal(modes, want) {
			t.Errorf("modes: %q, not %q", modes, want)
		}
	})
}

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		err   error
		class endClass
		says  string
	}{
		{&stream.AuthError{Condition: "account-disabled"}, endLogin, "disabled"},
		{&stream.AuthError{Condition: "temporary-auth-failure"}, endRefused, "try later"},
		{stream.ErrPin, endCertificate, "pin_sha256"},
		{fmt.Errorf("dial: %w", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), endCertificate, "ca_file"},
		{stream.ErrNoTLS, endCertificate, "STARTTLS"},
		{stream.ErrNoMechanism, endLogin, "allow_plain"},
		{&stream.StreamError{Condition: "conflict"}, endConflict, "resource"},
		{&stream.StreamError{Condition: "policy-violation"}, endViolation, "policy-violation"},
		{&stream.StreamError{Condition: "system-shutdown", Text: "bye\r\nX"}, endLost, "bye"},
		{&stream.StreamError{Condition: "host-unknown"}, endCertificate, "domain"},
		{&net.OpError{Op: "dial", Err: syscall.ENETUNREACH}, endNet, "cannot connect"},
		{&net.DNSError{Err: "no such host", Name: "x.org"}, endNet, "no address"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, endLost, "connection lost"},
		{io.EOF, endLost, "connection lost"},
		{errNoPong, endLost, "does not answer"},
		{errReconfigured, endChanged, "configuration"},
	} {
		class, says := classify(tt.err, "bot@x.org")
		if class != tt.class || !strings.Contains(says, tt.says) || strings.ContainsAny(says, "\r\n") {
			t.Errorf("classify(%v) = %v, %q", tt.err, class, says)
		}
	}
}

func TestBackoff(t *testing.T) {
	now := time.Now()
	between := func(what string, d, low, high time.Duration) {
		t.Helper()
		if d < low || d > high {
			t.Errorf("%s: %v, not between %v and %v", what, d, low, high)
		}
	}
	var b backoff
	between("a long-lived stream that was cut", b.next(endLost, time.Hour, false, now), 200*time.Millisecond, 400*time.Millisecond)
	b = backoff{}
	between("refused after TCP", b.next(endRefused, 0, false, now), 700*time.Millisecond, 1300*time.Millisecond)
	between("again", b.next(endRefused, 0, false, now), 1400*time.Millisecond, 2600*time.Millisecond)
	for range 20 {
		b.next(endRefused, 0, false, now)
	}
	between("many times", b.next(endRefused, 0, false, now), 3*time.Minute, 7*time.Minute)
	b = backoff{}
	between("conflict", b.next(endConflict, time.Second, false, now), 45*time.Second, 80*time.Second)
	between("certificate", b.next(endCertificate, 0, false, now), 3*time.Minute, 7*time.Minute)
	between("a login that worked before", b.next(endLogin, 0, false, now), 3*time.Minute, 7*time.Minute)
	b = backoff{}
	if d := b.next(endLogin, 0, false, now); d >= 0 {
		t.Errorf("a login that never worked is tried again after %v", d)
	}
}

func TestPace(t *testing.T) {
	var p pace
	now := time.Now()
	if d := p.wait(now); d != 0 {
		t.Errorf("no limit, but %v", d)
	}
	p.halve(now)
	p.wait(now)
	if d := p.wait(now); d != paceFirst {
		t.Errorf("second message waits %v", d)
	}
	p.halve(now)
	if p.gap != 2*paceFirst {
		t.Errorf("halved twice: %v", p.gap)
	}
	for range 30 {
		now = now.Add(paceEase + time.Second)
		p.wait(now)
	}
	if p.gap != 0 {
		t.Errorf("the limit was never lifted: %v", p.gap)
	}
}
