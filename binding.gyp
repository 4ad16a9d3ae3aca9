# The build for machines without CMake, through node-gyp: the same files and flags as CMakeLists.txt, from
# native/sources.json. `scripts/native-sources.mjs` prints one list of it, an item a line.
{
  'variables': {
    'luffy_list': 'node scripts/native-sources.mjs',
  },
  'target_defaults': {
    # Node's own defaults that contradict ours.
    'cflags!': ['-O3', '-O2', '-fno-omit-frame-pointer'],
    'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20', '-std=gnu++1y'],
    'cflags_cc': ['<!@(<(luffy_list) compile)'],
    'xcode_settings': {
      'OTHER_CPLUSPLUSFLAGS': ['<!@(<(luffy_list) compile)'],
      'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
      'GCC_ENABLE_CPP_RTTI': 'YES',
      'CLANG_CXX_LANGUAGE_STANDARD': 'c++17',
    },
  },
  'targets': [
    {
      'target_name': 'luffy',
      'sources': ['<!@(<(luffy_list) core)', '<!@(<(luffy_list) addon)'],
      'include_dirs': ['<!@(<(luffy_list) include)'],
      'defines': ['NAPI_VERSION=<!(<(luffy_list) napi)', 'NODE_ADDON_API_CPP_EXCEPTIONS_ALL'],
      'ldflags': ['<!@(<(luffy_list) link)'],
      'dependencies': ['luffy_cpu_baseline'],
      'conditions': [
        ['target_arch=="x64"', {'dependencies': ['luffy_cpu_avx2', 'luffy_cpu_avx512']}],
      ],
    },
    {
      'target_name': 'luffy_cpu_baseline',
      'type': 'static_library',
      'sources': ['<!@(<(luffy_list) ops)'],
      'defines': ['LUFFY_BACKEND=cpu_baseline'],
    },
  ],
  'conditions': [
    ['target_arch=="x64"', {
      'targets': [
        {
          'target_name': 'luffy_cpu_avx2',
          'type': 'static_library',
          'sources': ['<!@(<(luffy_list) ops)'],
          'defines': ['LUFFY_BACKEND=cpu_avx2'],
          'cflags_cc': ['<!@(<(luffy_list) cpu_avx2)'],
          'xcode_settings': {'OTHER_CPLUSPLUSFLAGS': ['<!@(<(luffy_list) cpu_avx2)']},
        },
        {
          'target_name': 'luffy_cpu_avx512',
          'type': 'static_library',
          'sources': ['<!@(<(luffy_list) ops)'],
          'defines': ['LUFFY_BACKEND=cpu_avx512'],
          'cflags_cc': ['<!@(<(luffy_list) cpu_avx512)'],
          'xcode_settings': {'OTHER_CPLUSPLUSFLAGS': ['<!@(<(luffy_list) cpu_avx512)']},
        },
      ],
    }],
  ],
}
