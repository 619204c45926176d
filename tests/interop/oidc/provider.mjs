// An OpenID provider for tests: `node provider.mjs PORT`. Whoever types a login there is that person; its client is "pabal".
import { Provider } from 'oidc-provider';

const port = Number(process.argv[2]);
const names = { haneul: '김하늘', bada: '이바다' };
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: 'pabal',
      client_secret: 'of a throw-away provider',
      redirect_uris: ['https://app.example/callback'],
    },
  ],
  pkce: { required: () => true },
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: names[id] ?? id, preferred_username: id }),
  }),
  cookies: { keys: ['throw-away'] },
});
provider.listen(port, '127.0.0.1');
