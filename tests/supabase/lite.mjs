// @supabase/lite on a PostgreSQL, until somebody ends it; prints its address.
// Arguments: the folder of node_modules, its two keys. PGURL: the database, as its superuser.
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder, secret, publishable] = process.argv.slice(2)
const from = (file) => import(pathToFileURL(path.join(folder, 'node_modules', file)).href)
const { App } = await from('@supabase/lite/dist/index.js')
const { createPostgresConnection } = await from('@supabase/lite/dist/db/postgres/PostgresConnection.js')
const { serve } = await from('@hono/node-server/dist/index.mjs')
// It hands an object for an argument of type json over as text, and its driver makes a JSON string of that, which no
// function of type json expects (0.10.0; real PostgREST hands over the object). So the driver leaves text as it is.
const serialize = (it) => (typeof it === 'string' ? it : JSON.stringify(it))
const types = { json: { to: 114, from: [114], serialize, parse: JSON.parse } }
const app = new App({
  connection: createPostgresConnection({ url: process.env.PGURL, postgresOptions: { max: 4, types } }),
  auth: { enabled: true, jwt_secret: 'signs no token here', publishable_key: publishable, secret_key: secret },
})
const answer = (request, env) => app.fetch(request, { peerAddress: env.incoming.socket.remoteAddress ?? null })
serve({ port: 0, hostname: '127.0.0.1', fetch: answer }, (at) => console.log(`http://127.0.0.1:${at.port}`))
