package stream

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
	"mellium.im/sasl"

	"drawbridge/internal/scram"
	"drawbridge/xmpp/element"
)

// errBindingRefused means that a login with channel binding was refused and the
// connection did not survive it.
var errBindingRefused = errors.New("channel binding refused")

const maxChallenges = 8

// mechanisms are what we do, best first.
func mechanisms() []sasl.Mechanism {
	return []sasl.Mechanism{sasl.ScramSha256Plus, sasl.ScramSha256, sasl.ScramSha1Plus, sasl.ScramSha1, sasl.Plain}
}

func isPlus(name string) bool { return strings.HasSuffix(name, "-PLUS") }

// login authenticates (RFC 6120 §6) and opens the stream anew.
func (n *negotiation) login(features *element.Element) (*element.Element, error) {
	var offered []string
	if list := features.Child(nsSASL, "mechanisms"); list != nil {
		for _, m := range list.Children {
			if m.Is(nsSASL, "mechanism") && len(offered) < 64 {
				offered = append(offered, strings.TrimSpace(m.Text))
			}
		}
	}
	binding := n.c.ChannelBinding
	m, ok := n.choose(offered, binding)
	if !ok {
		return nil, n.noMechanism(offered)
	}
	err := n.authenticate(m, offered)
	var refused *AuthError
	if isPlus(m.Name) && binding == BindingAuto && errors.As(err, &refused) && refused.Condition == "not-authorized" {
		// ejabberd 23.01 offers PLUS on TLS 1.3 and then refuses tls-exporter.
		n.c.Log.Warn("login with channel binding refused, trying without", "err", err)
		if m, ok = n.choose(offered, BindingOff); !ok {
			return nil, err
		}
		err = n.authenticate(m, offered)
		if err != nil && !errors.As(err, &refused) {
			return nil, errors.Join(errBindingRefused, err)
		}
		if err == nil {
			n.c.OnBindingRefused()
		}
	}
	if err != nil {
		return nil, err
	}
	n.framer.restart()
	return n.open()
}

// choose picks the best mechanism that is offered and allowed.
func (n *negotiation) choose(offered []string, binding string) (sasl.Mechanism, bool) {
	for _, m := range mechanisms() {
		switch {
		case !slices.Contains(offered, m.Name):
		case m.Name == sasl.Plain.Name && !(n.c.AllowPlain && n.secure):
		case isPlus(m.Name) && (binding == BindingOff || !n.canBind()):
		case !isPlus(m.Name) && binding == BindingRequired:
		default:
			return m, true
		}
	}
	return sasl.Mechanism{}, false
}

func (n *negotiation) noMechanism(offered []string) error {
	hint := ""
	switch {
	case n.c.ChannelBinding == BindingRequired:
		hint = "; hint: channel_binding: auto"
	case slices.Contains(offered, sasl.Plain.Name) && n.secure:
		hint = "; hint: the server offers PLAIN, which must be allowed in the configuration"
	}
	return fmt.Errorf("%w (offered: %d)%s", ErrNoMechanism, len(offered), hint)
}

// canBind reports whether the TLS connection has what channel binding needs.
func (n *negotiation) canBind() bool {
	state, ok := n.tlsState()
	return ok && (state.Version >= tls.VersionTLS13 || len(state.TLSUnique) > 0)
}

func (n *negotiation) tlsState() (tls.ConnectionState, bool) {
	if tc, ok := n.conn.(*tls.Conn); ok {
		return tc.ConnectionState(), true
	}
	return tls.ConnectionState{}, false
}

// authenticate runs one SASL exchange.
func (n *negotiation) authenticate(m sasl.Mechanism, offered []string) error {
	// SASLprep in effect: NFKC (RFC 4013 §2.2).
	password := []byte(norm.NFKC.String(n.c.Password))
	opts := []sasl.Option{
		sasl.Credentials(func() ([]byte, []byte, []byte) {
			return []byte(n.c.JID.Localpart()), password, nil
		}),
		sasl.RemoteMechanisms(offered...),
	}
	if state, ok := n.tlsState(); ok && isPlus(m.Name) {
		opts = append(opts, sasl.TLSState(state))
	}
	client := sasl.NewClient(m, opts...)
	more, resp, err := client.Step(nil)
	if err != nil {
		return fmt.Errorf("logging in (%s): %w", m.Name, err)
	}
	e := element.New(nsSASL, "auth", "mechanism", m.Name).SetText(encode(resp, "="))
	for range maxChallenges {
		answer, err := n.ask(e)
		if err != nil {
			return err
		}
		if answer.Space != nsSASL {
			return fmt.Errorf("logging in: the server sent <%s/>", answer.Local)
		}
		if answer.Local == "failure" {
			return authError(m.Name, answer)
		}
		data, err := decode(answer.Text)
		if err != nil {
			return fmt.Errorf("logging in (%s): the server's answer is not base64", m.Name)
		}
		switch answer.Local {
		case "success":
			if more && len(data) > 0 {
				more, _, err = step(client, m.Name, data)
			}
			if err != nil {
				return err
			}
			if more {
				return fmt.Errorf("logging in (%s): the server did not prove that it knows the password", m.Name)
			}
			return nil
		case "challenge":
			if !more {
				return fmt.Errorf("logging in (%s): unexpected challenge", m.Name)
			}
			if more, resp, err = step(client, m.Name, data); err != nil {
				return err
			}
			e = element.New(nsSASL, "response").SetText(encode(resp, ""))
		default:
			return fmt.Errorf("logging in: the server sent <%s/>", answer.Local)
		}
	}
	return errors.New("logging in: too many challenges")
}

// step hands a challenge to mellium.im/sasl, after a look at it.
func step(client *sasl.Negotiator, name string, challenge []byte) (more bool, resp []byte, err error) {
	if strings.HasPrefix(name, "SCRAM-") && client.State()&sasl.StepMask == sasl.AuthTextSent {
		if err := scram.CheckServerFirst(challenge); err != nil {
			return false, nil, fmt.Errorf("logging in (%s): %w", name, err)
		}
	}
	more, resp, err = client.Step(challenge)
	if errors.Is(err, sasl.ErrAuthn) {
		err = errors.New("the server did not prove that it knows the password")
	}
	if err != nil {
		return false, nil, fmt.Errorf("logging in (%s): %w", name, err)
	}
	return more, resp, nil
}

// encode returns base64, and empty for no data.
func encode(data []byte, empty string) string {
	if len(data) == 0 {
		return empty
	}
	return base64.StdEncoding.EncodeToString(data)
}

// decode reads base64; a lone "=" stands for no data (RFC 6120 §6.4.2).
func decode(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if text == "=" {
		return nil, nil
	}
	return base64.StdEncoding.DecodeString(text)
}

// authError reads a <failure/> (RFC 6120 §6.5).
func authError(mechanism string, failure *element.Element) *AuthError {
	out := &AuthError{Mechanism: mechanism, Condition: "not-authorized"}
	for _, c := range failure.Children {
		switch {
		case c.Is(nsSASL, "text"):
			out.Text = c.Text
		case c.Space == nsSASL:
			out.Condition = c.Local
		}
	}
	return out
}
