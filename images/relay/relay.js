// Carries connections of agents to the control plane, and nothing else: node relay.js INNER PORT=HOST:PORT...
//
// INNER is the range of the agents' networks: who comes to any other address of ours is cut off. While the control plane
// is away a connection is held and the plane dialled again, so that its restart is a pause. What an agent says meanwhile
// is kept, so that one who left is noticed: nothing is delivered for it later.
"use strict"
const net = require("net")

const HOLD_MS = Number(process.env.HOLD_MS || 120_000)
const AGAIN_MS = 250
const DIAL_MS = 5_000
const MOST = 128 // connections of one agent, which is alone at one address of ours
const EARLY_BYTES = 1 << 17
const PARTING_MS = 2 // for word of an agent's leaving that came just before
const OPTIONS = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 }

const [range, ...doors] = process.argv.slice(2)
const inner = new net.BlockList()
inner.addSubnet(range.split("/")[0], Number(range.split("/")[1]))
const open = new Map()

for (const door of doors) {
  const [, port, host, target] = /^(\d+)=(.+):(\d+)$/.exec(door)
  const server = net.createServer(OPTIONS, client => welcome(client, { ...OPTIONS, host, port: target }))
  server.listen(port, "0.0.0.0", () => console.log(`${port} leads to ${host}:${target}`))
}

function welcome(client, plane) {
  const at = client.localAddress
  const now = open.get(at) || 0
  client.on("error", () => client.destroy())
  if (!at || !inner.check(at) || now >= MOST) return client.resetAndDestroy()
  open.set(at, now + 1)
  client.on("close", () => open.set(at, open.get(at) - 1))
  const early = []
  const keep = chunk => early.push(chunk) && client.bytesRead > EARLY_BYTES && client.pause()
  const left = () => client.destroy()
  client.on("data", keep).on("end", left)
  dial(client, plane, Date.now() + HOLD_MS, there => {
    client.off("data", keep).off("end", left)
    early.forEach(chunk => there.write(chunk))
    client.pipe(there).pipe(client)
  })
}

function dial(client, plane, until, reached) {
  if (client.destroyed) return
  const there = net.connect(plane)
  const timer = setTimeout(() => there.destroy(), DIAL_MS)
  let carries = false
  const gone = () => there.destroy()
  client.once("close", gone)
  there.once("connect", () => {
    clearTimeout(timer)
    carries = true
    setTimeout(() => there.destroyed || reached(there), PARTING_MS)
  })
  there.once("error", () => carries && client.resetAndDestroy())
  there.once("close", () => {
    clearTimeout(timer)
    client.off("close", gone)
    if (carries) client.destroySoon()
    else if (Date.now() >= until) client.resetAndDestroy()
    else setTimeout(dial, AGAIN_MS, client, plane, until, reached)
  })
}
