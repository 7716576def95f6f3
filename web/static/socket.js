// The socket to /api/v1/live: it says what changed and brings log lines. It comes back by itself, each time later, and
// asks to be told from where it stopped. Whether it is up is told with `up`; what it cannot do, the page's questions do.

const SOONEST = 250;
const LATEST = 15000;
const SIGNED_OUT = 1008;

// `watches()` are the messages to begin with, each with the last numbers that were seen; returns a function that ends it.
export function listen(watches, { heard, up }) {
  const address = new URL("/api/v1/live", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  let socket = null;
  let wait = SOONEST;
  let over = false;

  function open() {
    if (over) return;
    const asked = watches();
    let unanswered = asked.length;
    socket = new WebSocket(address);
    socket.onopen = () => asked.forEach((one) => socket.send(JSON.stringify(one)));
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "error") return end();
      heard(message);
      if (message.type === "watching" && --unanswered === 0) {
        wait = SOONEST;
        up(true);
      }
    };
    socket.onclose = ({ code }) => {
      up(false);
      if (code === SIGNED_OUT) over = true;
      setTimeout(open, wait * (0.5 + Math.random() / 2));
      wait = Math.min(wait * 2, LATEST);
    };
  }

  function end() {
    over = true;
    socket.close();
  }

  open();
  return end;
}
