package irc

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/ergochat/irc-go/ircutils"
	"mellium.im/sasl"

	"drawbridge/internal/scram"
)

// ErrSASL is wrapped by every error of the login to services.
var ErrSASL = errors.New("sasl")

// maxChallenge bounds a challenge, in bytes.
const maxChallenge = 16 << 10

// saslExchange is one login.
type saslExchange struct {
	mechanism string // as on the wire
	client    *sasl.Negotiator
	in        *ircutils.SASLBuffer
	steps     int
	done      bool // the mechanism is content: 903 may come
}

// newSASL begins a login with the configured mechanism. offered is the value of
// the sasl capability, "" if the server did not name its mechanisms.
func newSASL(cfg SASLConfig, offered string) (*saslExchange, error) {
	x := &saslExchange{mechanism: strings.ToUpper(cfg.Mechanism), in: ircutils.NewSASLBuffer(maxChallenge)}
	if offered != "" && !hasItem(offered, x.mechanism) {
		return nil, fmt.Errorf("%w: the server does not offer %s (only %s)", ErrSASL, x.mechanism, cleanText(offered))
	}
	creds := sasl.Credentials(func() (user, pass, identity []byte) {
		return []byte(cfg.Account), []byte(cfg.Password), nil
	})
	switch cfg.Mechanism {
	case SASLPlain:
		x.client = sasl.NewClient(sasl.Plain, creds)
	case SASLScramSHA256:
		x.client = sasl.NewClient(sasl.ScramSha256, creds)
	case SASLExternal:
		// No authorization identity, as other clients do: atheme 7.2.12 refuses one
		// with 904 on any but the first login after its start (irc/real_test.go).
		x.client = sasl.NewClient(sasl.Mechanism{
			Name: "EXTERNAL",
			// No authorisation identity, as other clients send it: the certificate
			// says whose account it is. Atheme 7.2 with InspIRCd 3.15 answers 904 to
			// some names, "bridgeacct" (in base64, with padding) among them.
			Start: func(*sasl.Negotiator) (bool, []byte, interface{}, error) {
				return false, nil, nil, nil
			},
			Next: func(*sasl.Negotiator, []byte, interface{}) (bool, []byte, interface{}, error) {
				return false, nil, nil, sasl.ErrTooManySteps
			},
		})
	}
	return x, nil
}

// step takes one AUTHENTICATE parameter of the server and returns the
// parameters to answer with, none while a challenge is incomplete.
func (x *saslExchange) step(chunk string) ([]string, error) {
	complete, challenge, err := x.in.Add(chunk)
	if err != nil {
		return nil, fmt.Errorf("%w: bad challenge: %w", ErrSASL, err)
	}
	if !complete {
		return nil, nil
	}
	x.steps++
	if x.done && len(challenge) == 0 {
		return []string{"+"}, nil
	}
	if x.steps == 3 && bytes.HasPrefix(challenge, []byte("e=")) {
		return nil, fmt.Errorf("%w: %s", ErrSASL, saslFailure("904", x.mechanism))
	}
	if x.steps == 2 && !x.done {
		if err := scram.CheckServerFirst(challenge); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSASL, err)
		}
	}
	if x.done {
		return nil, fmt.Errorf("%w: a challenge too many", ErrSASL)
	}
	more, resp, err := x.client.Step(challenge)
	if err != nil {
		if x.steps == 3 {
			return nil, fmt.Errorf("%w: the server's signature is wrong: it does not know our password", ErrSASL)
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrSASL, x.mechanism, err)
	}
	x.done = !more
	return ircutils.EncodeSASLResponse(resp), nil
}

// proven reports whether the mechanism lets the server say 903: a server that
// skips SCRAM's signature did not show that it knows the password.
func (x *saslExchange) proven() bool { return x.done }

// hasItem reports whether the comma-separated list holds item, whatever the case.
func hasItem(list, item string) bool {
	for s := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(s, item) {
			return true
		}
	}
	return false
}

// saslFailure tells what a SASL numeric means for a mechanism, "" if it is none of
// failure.
func saslFailure(numeric, mechanism string) string {
	switch numeric {
	case "902":
		return "the account is locked"
	case "904":
		if mechanism == "EXTERNAL" {
			return "services do not know our certificate: add its fingerprint to the account (NickServ CERT ADD)"
		}
		return "wrong account or password: see sasl.account and sasl.password_file"
	case "905":
		return "our response was too long"
	case "906":
		return "aborted"
	case "908":
		return "the server wants another mechanism"
	}
	return ""
}
