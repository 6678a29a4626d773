/* Written by tools/make_elementary_tables.py; do not edit. */
/* clang-format off */
#ifndef LLAVA_ELEMENTARY_TABLES_H
#define LLAVA_ELEMENTARY_TABLES_H

#include <stdint.h>

/* (e^r - 1 - r - r^2/2) / r^3 = 1/6 + r/24 + ...
 * on [-0.346574, 0.346574], error below 2^-56. */
static inline double exp_tail(double r)
{
    double y = 0x1.61b2b02877046p-33;
    y = y * r + 0x1.1f72fc83bcbc7p-29;
    y = y * r + 0x1.ae64344d76c0cp-26;
    y = y * r + 0x1.27e4db67ac2b0p-22;
    y = y * r + 0x1.71de3a5904949p-19;
    y = y * r + 0x1.a01a01a6d7831p-16;
    y = y * r + 0x1.a01a01a019b2bp-13;
    y = y * r + 0x1.6c16c16c162d6p-10;
    y = y * r + 0x1.1111111111111p-7;
    y = y * r + 0x1.5555555555556p-5;
    y = y * r + 0x1.5555555555555p-3;
    return y;
}

/* (atanh(s)/s - 1 - z/3 - z^2/5) / z^3 = 1/7 + z/9 + ..., z = s^2
 * on [0, 0.0294373], error below 2^-56. */
static inline double log_tail(double z)
{
    double y = 0x1.b2dfa0c2c6d24p-5;
    y = y * z + 0x1.acf861ecd8fc1p-5;
    y = y * z + 0x1.e1eff9a398cfdp-5;
    y = y * z + 0x1.1110f807dbe86p-4;
    y = y * z + 0x1.3b13b16b45549p-4;
    y = y * z + 0x1.745d1745a3f60p-4;
    y = y * z + 0x1.c71c71c71c822p-4;
    y = y * z + 0x1.2492492492492p-3;
    return y;
}

/* (sin(r)/r - 1 + z/6) / z^2 = 1/120 - z/5040 + ..., z = r^2
 * on [0, 0.616851], error below 2^-62. */
static inline double sin_tail(double z)
{
    double y = -0x1.ab93fa646995ap-41;
    y = y * z + 0x1.61225b39932c3p-33;
    y = y * z + -0x1.ae6455342226dp-26;
    y = y * z + 0x1.71de3a550cb5fp-19;
    y = y * z + -0x1.a01a01a019ed6p-13;
    y = y * z + 0x1.1111111111111p-7;
    return y;
}

/* (cos(r) - 1 + z/2) / z^2 = 1/24 - z/720 + ..., z = r^2
 * on [0, 0.616851], error below 2^-58. */
static inline double cos_tail(double z)
{
    double y = 0x1.ab785aa02d659p-45;
    y = y * z + -0x1.9394ba0c332d9p-37;
    y = y * z + 0x1.1eed8deb97423p-29;
    y = y * z + -0x1.27e4fb7712d61p-22;
    y = y * z + 0x1.a01a01a019d0ap-16;
    y = y * z + -0x1.6c16c16c16c16p-10;
    y = y * z + 0x1.5555555555555p-5;
    return y;
}

static const double log2_e = 0x1.71547652b82fep+0; /* 1 / ln 2 */
static const double ln2_head = 0x1.62e42fefa3800p-1; /* ln 2 cut to 42 bits: k times it is exact */
static const double ln2_rest = 0x1.ef35793c76730p-45;
static const double two_over_pi = 0x1.45f306dc9c883p-1;
static const double half_pi_0 = 0x1.921fb54400000p+0; /* pi/2 in pieces of 33 bits: k times each is exact */
static const double half_pi_1 = 0x1.0b4611a600000p-34;
static const double half_pi_2 = 0x1.3198a2e000000p-69;
static const double half_pi_3 = 0x1.b839a252049c1p-104;
static const pair half_pi = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54}; /* pi / 2 */
static const pair third = {0x1.5555555555555p-2, 0x1.5555555555555p-56}; /* 1 / 3 */
static const pair fifth = {0x1.999999999999ap-3, -0x1.999999999999ap-57}; /* 1 / 5 */
static const pair minus_sixth = {-0x1.5555555555555p-3, -0x1.5555555555555p-57}; /* -1 / 6 */

/* 64 zero bits, then the bits of 2/pi behind its binary point, 32 at a time. */
static const uint32_t two_over_pi_bits[39] = {
    0x00000000, 0x00000000, 0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041,
    0xfe5163ab, 0xdebbc561, 0xb7246e3a, 0x424dd2e0, 0x06492eea, 0x09d1921c, 0xfe1deb1c, 0xb129a73e,
    0xe88235f5, 0x2ebb4484, 0xe99c7026, 0xb45f7e41, 0x3991d639, 0x835339f4, 0x9c845f8b, 0xbdf9283b,
    0x1ff897ff, 0xde05980f, 0xef2f118b, 0x5a0a6d1f, 0x6d367ecf, 0x27cb09b7, 0x4f463f66, 0x9e5fea2d,
    0x7527bac7, 0xebe5f17b, 0x3d0739f7, 0x8a5292ea, 0x6bfb5fb1, 0x1f8d5d08, 0x56033046,
};

/* Row i: erf and its slope 2/sqrt(pi) exp(-c^2) at c = i / 16. */
typedef struct {
    pair value, slope;
} erf_row;
static const erf_row erf_rows[97] = {
    {{0x0.0p+0, 0x0.0p+0}, {0x1.20dd750429b6dp+0, 0x1.1ae3a914fed80p-56}},
    {{0x1.207d480e90658p-4, 0x1.4c35c43362a08p-58}, {0x1.1fbd27cdc72d3p+0, -0x1.211c711d809fep-54}},
    {{0x1.1f5e1a35c3b89p-3, 0x1.d0b6d6493e0f4p-57}, {0x1.1c62fa1e869b6p+0, 0x1.ce6909ad6a1e7p-55}},
    {{0x1.ac45e37fe2526p-3, 0x1.48d48536c61e3p-57}, {0x1.16e2d7093cd8cp+0, 0x1.979a52f906b4cp-54}},
    {{0x1.1af54e232d609p-2, -0x1.bee921fa4172bp-56}, {0x1.0f5d1602f7e41p+0, -0x1.3e41778d4b1eep-55}},
    {{0x1.5da9f415ff23fp-2, -0x1.a72e51e19194bp-59}, {0x1.05fd3ecbec298p+0, -0x1.f17d49717adf9p-54}},
    {{0x1.9dd0d2b721f39p-2, -0x1.1671c021d14c4p-56}, {0x1.f5f0cdaf15313p-1, 0x1.dff29f5ad8117p-60}},
    {{0x1.db081ce6e2a48p-2, -0x1.7ff0a3296d9ccp-56}, {0x1.dd167c4cf9d2ap-1, 0x1.44f2832f90a99p-55}},
    {{0x1.0a7ef5c18edd2p-1, 0x1.5e809f1a31a28p-56}, {0x1.c1efca49a5011p-1, 0x1.4c081d7f49500p-55}},
    {{0x1.25b8a88b6dd7fp-1, 0x1.9534a3b5bd215p-55}, {0x1.a5074e2157620p-1, 0x1.fad8c0ef6faecp-56}},
    {{0x1.3f196dcd0f135p-1, -0x1.f25f4f6fdf70bp-56}, {0x1.86e9694134b9ep-1, -0x1.3bda1314b1d68p-55}},
    {{0x1.569243d2b3a9bp-1, 0x1.8eef7012e8df5p-56}, {0x1.681ff24b4ab04p-1, -0x1.dba6493354c66p-58}},
    {{0x1.6c1c9759d0e5fp-1, 0x1.b1432f2cbc455p-55}, {0x1.492e42d78d2c5p-1, -0x1.8bd386a7ba3f6p-55}},
    {{0x1.7fb9bfaed8078p-1, 0x1.66cf14bcad032p-56}, {0x1.2a8dcede3673bp-1, -0x1.7378e2c70325dp-56}},
    {{0x1.91724951b8fc6p-1, -0x1.27912dd352f8bp-55}, {0x1.0cab61f084b93p-1, 0x1.098a511a778e7p-56}},
    {{0x1.a1551a16aaeafp-1, 0x1.a558a46df5f67p-57}, {0x1.dfca26f5bbf88p-2, -0x1.ddcbaf85587b9p-57}},
    {{0x1.af767a741088bp-1, -0x1.c97f778122797p-56}, {0x1.a911f096fbc26p-2, -0x1.086a09f735b33p-56}},
    {{0x1.bbef0fbde6221p-1, -0x1.322c1148e0d48p-55}, {0x1.75a91a7f4d2edp-2, 0x1.6eb826a9df857p-58}},
    {{0x1.c6dad2829ec62p-1, -0x1.ab76d4cba3d05p-57}, {0x1.45e99bcbb7915p-2, 0x1.7bcd0125a8155p-56}},
    {{0x1.d0580b2cfd249p-1, 0x1.4fca6318dfee9p-55}, {0x1.1a0dc51a9934dp-2, -0x1.ca89d2d78fba4p-57}},
    {{0x1.d8865d98abe01p-1, -0x1.fcec4afb974d9p-55}, {0x1.e4652fadcb6b2p-3, -0x1.e950836901024p-61}},
    {{0x1.df85ea8db188ep-1, -0x1.f71e8254d11a9p-55}, {0x1.9cb5bd549b111p-3, -0x1.973e73caa1edep-59}},
    {{0x1.e5768c3b4a3fcp-1, 0x1.8b62674f89890p-57}, {0x1.5ce595c455b0ap-3, 0x1.c317415c2c6e1p-59}},
    {{0x1.ea7730ed0bbb9p-1, 0x1.2c5bd7ce1388bp-55}, {0x1.24a7b84d38971p-3, 0x1.aa0c5e788ed5fp-57}},
    {{0x1.eea5557137ae0p-1, -0x1.385e445f2c96dp-55}, {0x1.e723726b824a9p-4, -0x1.2203197eea764p-59}},
    {{0x1.f21c9f12f0677p-1, -0x1.7efe429672266p-58}, {0x1.92470a61b6965p-4, 0x1.c6acd40cee350p-58}},
    {{0x1.f4f693b67bd77p-1, -0x1.3a1ee1406c356p-56}, {0x1.499d478bca735p-4, 0x1.31c41d17378e2p-60}},
    {{0x1.f74a6d9a38383p-1, 0x1.c33a329423946p-55}, {0x1.0bf97e95f2a64p-4, -0x1.446051f6fef83p-58}},
    {{0x1.f92d077f8d56dp-1, 0x1.8b55ef493fce7p-56}, {0x1.b055303221015p-5, 0x1.cba9ea60ed019p-59}},
    {{0x1.fab0dd89d1309p-1, -0x1.ae61bd9db1babp-55}, {0x1.5a08e85af27e0p-5, 0x1.e4f9cfc8c2382p-59}},
    {{0x1.fbe61eef4cf6ap-1, 0x1.15ded88667618p-55}, {0x1.12ceb37ff9bc3p-5, 0x1.a3b0b09d34761p-59}},
    {{0x1.fcdacca0bfb73p-1, -0x1.2c33d88729e43p-55}, {0x1.b1160991ff737p-6, -0x1.d940a504353b9p-61}},
    {{0x1.fd9ae142795e3p-1, 0x1.972801904b9a3p-56}, {0x1.529b9e8cf9a1ep-6, 0x1.b47becf12c4e4p-61}},
    {{0x1.fe307f2b503d0p-1, -0x1.8a555000387f8p-57}, {0x1.06ae13b0d3255p-6, -0x1.88abd7f4be982p-60}},
    {{0x1.fea4218d6594ap-1, -0x1.e3333d8f7d98cp-58}, {0x1.94624e78e0fafp-7, -0x1.41864737c78ffp-61}},
    {{0x1.fefcce6813974p-1, -0x1.b27cf5025d1c8p-58}, {0x1.34d7dbc76d7e5p-7, 0x1.3780d6e7eb350p-61}},
    {{0x1.ff404760319b4p-1, 0x1.f142071432025p-56}, {0x1.d4143a9dfe965p-8, -0x1.6eec3c35c7ed7p-63}},
    {{0x1.ff733814af88cp-1, 0x1.0a87238cea4f9p-56}, {0x1.5ff2750fe7820p-8, -0x1.5f184847ca665p-62}},
    {{0x1.ff9960f3eb327p-1, -0x1.08b1ca6e97f80p-56}, {0x1.06918b6355624p-8, 0x1.21b463b8e3a00p-62}},
    {{0x1.ffb5bdf67fe6fp-1, 0x1.4e830346f6e7fp-62}, {0x1.84ba3004a50d0p-9, -0x1.90b93d46321efp-64}},
    {{0x1.ffcaa8f4c9beap-1, 0x1.b0cee160116f9p-55}, {0x1.1d83170fbf6fbp-9, 0x1.ea3671efbb74ap-63}},
    {{0x1.ffd9f78c7524ap-1, 0x1.04ed6ff98e45dp-55}, {0x1.a024365f771bdp-10, 0x1.3c8f5202cb3e9p-64}},
    {{0x1.ffe514bbdc197p-1, -0x1.cd963345b5c6dp-58}, {0x1.2ce898809244ep-10, 0x1.092b45493a9e8p-64}},
    {{0x1.ffed167b12ac2p-1, -0x1.ddc0ce3ed8fcbp-55}, {0x1.afc85e0f82e12p-11, 0x1.438f22895e01dp-66}},
    {{0x1.fff2cfb0453d9p-1, 0x1.9a913686042a3p-55}, {0x1.3360ccd23db3ap-11, 0x1.39e15444e9dddp-69}},
    {{0x1.fff6dee89352ep-1, 0x1.b96c0ba13851dp-55}, {0x1.b23a5a23e4210p-12, 0x1.727bce1bdfffep-67}},
    {{0x1.fff9ba420e834p-1, 0x1.1379ec5aa630ep-56}, {0x1.30538fbb77ecdp-12, 0x1.8c5e8c1b3532fp-69}},
    {{0x1.fffbb8f1049c6p-1, 0x1.d2c6266b51f27p-56}, {0x1.a740684026555p-13, -0x1.7e24cc3ac5720p-69}},
    {{0x1.fffd1ac4135f9p-1, 0x1.eeafa1ecd6cefp-55}, {0x1.2408e9ba3327fp-13, -0x1.7e1d81587040cp-67}},
    {{0x1.fffe0e0140857p-1, -0x1.6aa36f86c14ddp-57}, {0x1.8fdc1b2dcf7b9p-14, 0x1.7050f50b8f311p-71}},
    {{0x1.fffeb3ebb267bp-1, 0x1.e47f697047cbap-57}, {0x1.0f9e1b4dd36dfp-14, -0x1.3fedc80d9c7aep-71}},
    {{0x1.ffff2436a21dcp-1, -0x1.3607959a29d36p-55}, {0x1.6e2367dc27f95p-15, 0x1.d96e6f01510e8p-73}},
    {{0x1.ffff6f9f67e55p-1, 0x1.e1e4483ba034bp-55}, {0x1.e9b5e8d00ce77p-16, -0x1.cbbe2ecd1cfacp-70}},
    {{0x1.ffffa1de8c582p-1, 0x1.832540129302ap-55}, {0x1.44f21e49054f2p-16, 0x1.f338cf40864d8p-71}},
    {{0x1.ffffc316d9ed0p-1, -0x1.8b32f44f46b3bp-55}, {0x1.abe09e9144b5ep-17, 0x1.308300923fe4bp-71}},
    {{0x1.ffffd8e1a2f22p-1, -0x1.c10adf6b19989p-55}, {0x1.1783ceac28910p-17, -0x1.7f19d8ee582e5p-71}},
    {{0x1.ffffe710d565ep-1, 0x1.c9ea52d76dc04p-55}, {0x1.6a597219a93dap-18, -0x1.cbf8fbc2cd5cdp-72}},
    {{0x1.fffff039f9e8fp-1, -0x1.9d1bcd6174e99p-55}, {0x1.d21397ead99cbp-19, -0x1.6abd9c029cf89p-75}},
    {{0x1.fffff618c3da6p-1, -0x1.19309ce23aa3ep-58}, {0x1.296a70f414053p-19, 0x1.036e65808a17dp-74}},
    {{0x1.fffff9d446cccp-1, -0x1.bb06bab98bc7ep-57}, {0x1.789fb715aae95p-20, -0x1.226d93bf88ff6p-80}},
    {{0x1.fffffc2f171e3p-1, 0x1.85edd0395f475p-55}, {0x1.d9371e2ff7c35p-21, 0x1.0aed0951e078dp-75}},
    {{0x1.fffffda86faa9p-1, -0x1.d230252d68f25p-56}, {0x1.26f9df8519bd7p-21, -0x1.e339871c01768p-75}},
    {{0x1.fffffe92ced93p-1, -0x1.d2db2ecfe14aep-55}, {0x1.6ce1aa3fd7bddp-22, 0x1.bf15b0bc56aabp-80}},
    {{0x1.ffffff233ee1dp-1, 0x1.db123ed17221dp-55}, {0x1.bfd7555a3bd68p-23, 0x1.0151cf177a911p-77}},
    {{0x1.ffffff7b91176p-1, 0x1.0b2865615db40p-56}, {0x1.10b1488aeb235p-23, -0x1.cd75b4828c0c0p-81}},
    {{0x1.ffffffb127525p-1, 0x1.504f382db4102p-55}, {0x1.4980cb3c80949p-24, 0x1.7fbdd923f82b7p-78}},
    {{0x1.ffffffd169d0cp-1, 0x1.70a2bfb068e6fp-55}, {0x1.8b0cfce0579e0p-25, -0x1.e8bad9967ec2cp-79}},
    {{0x1.ffffffe4aed5ep-1, 0x1.389c0f32ad0f4p-59}, {0x1.d5f3a8dea7357p-26, 0x1.fa07c18622d49p-80}},
    {{0x1.fffffff01a8b6p-1, 0x1.23370eca5ca6ap-60}, {0x1.155a09065d4f7p-26, -0x1.7c5d6c7140f80p-81}},
    {{0x1.fffffff6d1e56p-1, -0x1.64d969b4be4c4p-55}, {0x1.44d26de513197p-27, 0x1.76fc20fc4c506p-81}},
    {{0x1.fffffffabd229p-1, -0x1.4dbe49bec3ef2p-57}, {0x1.7974e743dea3dp-28, -0x1.b6101ddd90bdbp-82}},
    {{0x1.fffffffd01f89p-1, -0x1.35e8e39884f62p-56}, {0x1.b334fac4b9f99p-29, 0x1.32178ed1a6c0dp-83}},
    {{0x1.fffffffe4fa30p-1, 0x1.d166bcb681c7bp-57}, {0x1.f1e3523b41d7dp-30, -0x1.7303536c50b37p-84}},
    {{0x1.ffffffff0dd2bp-1, 0x1.0df73e7d2fc98p-55}, {0x1.1a94ff571654fp-30, 0x1.fbf537b47ce6dp-84}},
    {{0x1.ffffffff79626p-1, 0x1.5fbc52d650a89p-55}, {0x1.3e44e45301b92p-31, 0x1.1a5c00d13a5f2p-85}},
    {{0x1.ffffffffb5be5p-1, -0x1.729d6819c7f34p-56}, {0x1.63ac6b4edc88ep-32, -0x1.c45991834a34fp-88}},
    {{0x1.ffffffffd759dp-1, 0x1.f7bee7eb23420p-55}, {0x1.8a61745ec7d1dp-33, 0x1.9d509f787b50ep-88}},
    {{0x1.ffffffffe9eb0p-1, -0x1.ea527e0bef1ecp-58}, {0x1.b1e5acf351d87p-34, 0x1.dc96583bc1d87p-90}},
    {{0x1.fffffffff4188p-1, 0x1.7a2cb3d056eacp-55}, {0x1.d9a880f306bd8p-35, -0x1.fbec4689ff1dap-94}},
    {{0x1.fffffffff9a1bp-1, -0x1.6a87270d2450ep-57}, {0x1.0084ff125639dp-35, -0x1.8ad61debea5dfp-90}},
    {{0x1.fffffffffc9e8p-1, -0x1.a759f7738935fp-56}, {0x1.13af4f04f9998p-36, -0x1.0532e647cd418p-90}},
    {{0x1.fffffffffe380p-1, 0x1.7ce07114e4fe0p-55}, {0x1.25f9ee0b923dcp-37, -0x1.174c43a738d83p-91}},
    {{0x1.ffffffffff11ap-1, -0x1.3eafccbc6e8b7p-56}, {0x1.370ab8327af5ep-38, -0x1.1cdf083ee84bcp-92}},
    {{0x1.ffffffffff845p-1, 0x1.b0edc5a89ab8fp-56}, {0x1.46897d4b69fc6p-39, 0x1.a74852413b364p-93}},
    {{0x1.ffffffffffc05p-1, 0x1.07ba96a6b2e1ap-55}, {0x1.5422ef5d8949dp-40, 0x1.ff62258857350p-96}},
    {{0x1.ffffffffffdf8p-1, -0x1.dcf8b10ff973bp-55}, {0x1.5f8b87a31bd85p-41, 0x1.65b26542e9e5ap-98}},
    {{0x1.ffffffffffef8p-1, 0x1.14be6226402c7p-56}, {0x1.68823e52970bep-42, 0x1.24038ae49efbdp-98}},
    {{0x1.fffffffffff7bp-1, 0x1.00fa07f7fb612p-55}, {0x1.6ed2f2515e933p-43, 0x1.2bc1802866176p-98}},
    {{0x1.fffffffffffbep-1, -0x1.182b326b228dcp-55}, {0x1.7258610b3b233p-44, -0x1.60bc7761ca394p-101}},
    {{0x1.fffffffffffdfp-1, 0x1.5669e670f914bp-56}, {0x1.72fd93e036cdcp-45, 0x1.1c553d0f2268ep-100}},
    {{0x1.ffffffffffff0p-1, -0x1.20ef3618f2d54p-56}, {0x1.70beaf9c7ffb6p-46, -0x1.b0d0718f5cfd3p-103}},
    {{0x1.ffffffffffff8p-1, 0x1.0160ef15c497dp-56}, {0x1.6ba91ac734786p-47, -0x1.f81d6faa99c8dp-101}},
    {{0x1.ffffffffffffcp-1, 0x1.8115fd1b12786p-56}, {0x1.63daf8b4b1e0cp-48, 0x1.f38800a69fe98p-105}},
    {{0x1.ffffffffffffep-1, 0x1.59ab24e589a30p-56}, {0x1.5982008db1304p-49, -0x1.1cf9bdada0bfep-103}},
    {{0x1.fffffffffffffp-1, 0x1.0439397b5f70ap-56}, {0x1.4cd9c04158cd7p-50, 0x1.533947579e54dp-104}},
    {{0x1.0000000000000p+0, -0x1.a6d7d18831888p-55}, {0x1.3e296303b2297p-51, 0x1.68cf6480a3817p-105}},
    {{0x1.0000000000000p+0, -0x1.8cf81557d20b6p-56}, {0x1.2dc119095729fp-52, -0x1.1566d13fe4564p-106}},
};

/* erf's series ends with this term; each is divided by its number, and by the next. */
enum { ERF_TERMS = 11 };
static const double inverse[ERF_TERMS + 2] = {0, 1.0 / 1, 1.0 / 2, 1.0 / 3, 1.0 / 4, 1.0 / 5, 1.0 / 6, 1.0 / 7, 1.0 / 8, 1.0 / 9, 1.0 / 10, 1.0 / 11, 1.0 / 12};

#endif
