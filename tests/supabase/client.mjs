// The unmodified supabase-js: reads what the recorder wrote, writes a table of the reader's own; prints what it got.
// Arguments: the folder of node_modules, the project's address, its key.
import { createRequire } from 'node:module'

const [folder, url, key] = process.argv.slice(2)
const { createClient } = createRequire(folder + '/')('@supabase/supabase-js')
const client = createClient(url, key, {
  auth: { persistSession: false },
  realtime: { transport: class {} }, // Node.js before 22 has no WebSocket; none is used here
})
const found = {}
const kept = async (name, asked) => {
  const { data, error, count, status } = await asked
  found[name] = { data, code: error?.code ?? null, count, status }
}
await kept('read', client.from('equity_data').select('ticker, price, volume', { count: 'exact' })
  .eq('ticker', 'QQQ').order('timestamp', { ascending: false }).limit(2))
await kept('health', client.rpc('get_streaming_health', { ticker: 'QQQ' }))
await kept('insert', client.from('notes').insert({ ticker: 'QQQ', said: 'first' }).select())
await kept('again', client.from('notes').insert({ ticker: 'QQQ', said: 'second' }))
await kept('ignore', client.from('notes').upsert({ ticker: 'QQQ', said: 'second' }, { ignoreDuplicates: true }))
await kept('merge', client.from('notes').upsert({ ticker: 'QQQ', said: 'third' }).select().single())
await kept('update', client.from('notes').update({ said: 'fourth' }).eq('ticker', 'QQQ').select())
await kept('delete', client.from('notes').delete().eq('ticker', 'QQQ').select())
await kept('missing', client.from('nothing').select())
console.log(JSON.stringify(found))
process.exit(0)
