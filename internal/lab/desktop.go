package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// Without services: nothing of the machine's desktop is started.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
`

var displayNumber = regexp.MustCompile(`(?m)^\d+$`)

// desktop starts a screen that nobody sees and a D-Bus at the socket bus, for one
// program that has windows, and returns the environment that it needs.
func (l *Lab) desktop(home, bus, name string) (env []string) {
	l.Helper()
	config := filepath.Join(home, "bus.conf")
	l.write(config, fmt.Sprintf(busConfig, bus))
	l.Start(&Proc{Name: "dbus-" + name, Dir: home, Args: []string{l.program("dbus-daemon"), "--nofork", "--nopidfile", "--nosyslog", "--config-file", config}})
	screen := l.Start(&Proc{Name: "xvfb-" + name, Dir: home, Args: []string{l.program("Xvfb"), "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "800x600x24"}})
	var display string
	l.Await(patience, "a screen for "+name, func() bool {
		display = displayNumber.FindString(tail(screen.Out, 4<<10))
		_, err := os.Stat(bus)
		return display != "" && err == nil
	})
	return []string{
		"DISPLAY=:" + display, "HOME=" + home, "DBUS_SESSION_BUS_ADDRESS=unix:path=" + bus,
		"LC_ALL=C.UTF-8", "NO_AT_BRIDGE=1", "GTK_IM_MODULE=gtk-im-context-simple",
	}
}
