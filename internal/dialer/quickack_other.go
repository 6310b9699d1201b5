//go:build !linux

package dialer

import "net"

// QuickAck returns conn with TCP_NODELAY set; TCP_QUICKACK is Linux's alone.
func QuickAck(conn net.Conn) net.Conn {
	if tc, ok := conn.(*net.TCPConn); ok {
		_ = tc.SetNoDelay(true) // latency only; the default already
	}
	return conn
}
