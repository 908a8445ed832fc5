#include "CFastPath.h"
